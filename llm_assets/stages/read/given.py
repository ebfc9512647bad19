"""Records of a reader that a project brings itself, in the form of all formats.

Guarantees that what it gives is numbered, checked and accounted for, and that an error in its code costs the rest of
that file and says whose code it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

import orjson

from llm_assets.contract.plugin import PluginFailedError
from llm_assets.stages.read.reader import Document, Reader, Unreadable
from llm_assets.stages.read.records import (
    BrokenStreamError,
    Quarantined,
    ReadError,
    Record,
    UnreadableFileError,
    document_or_quarantine,
)
from llm_assets.stages.read.selection import Selection


def read_given(reader: Reader, file: IO[bytes], selection: Selection) -> Iterator[Record]:
    """The records that a project's own reader finds in a file.

    Raises OSError and MemoryError, which say nothing of the data, and what `file` raises.
    """
    number = 0
    try:
        with reader.called():
            records = iter(reader.read(file))
        while True:
            with reader.called():
                given: object = next(records, _END)
            if given is _END:
                return
            number += 1
            with reader.called():
                record = _record(given, number, selection)
            yield record
    except PluginFailedError as error:
        if isinstance(error.__cause__, UnreadableFileError | BrokenStreamError):
            raise error.__cause__ from None
        yield Quarantined.of(number + 1, None, ReadError.READER_FAILED, str(error), b"")


_END = object()


def _record(given: object, number: int, selection: Selection) -> Record:
    """A record in the form of all formats. Raises TypeError for what no reader may give."""
    if isinstance(given, Unreadable):
        return Quarantined.of(number, given.byte_offset, ReadError.UNREADABLE, given.why, given.raw)
    if not isinstance(given, Document):
        raise TypeError(f"a reader gives Document or Unreadable, not {type(given).__name__}")
    try:
        raw = given.text.encode()
    except UnicodeEncodeError as error:
        raw = given.text.encode(errors="surrogatepass")
        return Quarantined.of(number, given.byte_offset, ReadError.LONE_SURROGATE, str(error), raw, given.id)
    others = selection.chosen(given.metadata)
    metadata = orjson.dumps(others, option=orjson.OPT_SORT_KEYS) if others else None
    return document_or_quarantine(number, given.byte_offset, given.id, given.text, metadata, raw)
