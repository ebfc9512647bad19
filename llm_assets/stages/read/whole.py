"""Plain text and Markdown: the whole file is one document, without an id or metadata.

Guarantees that the text is the file's, byte for byte, except for a byte-order mark at its start.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator

from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.stages.read.records import (
    RAW_LIMIT,
    BrokenStreamError,
    Quarantined,
    ReadError,
    Record,
    document_or_quarantine,
)


def read_whole(blocks: Iterable[bytes], parameters: ReadParameters) -> Iterator[Record]:
    """The one record of a decompressed file; a part of a file is no document. No parameter applies."""
    del parameters
    data, broken = _join(blocks)
    offset = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
    data = data[offset:]

    def quarantined(error: ReadError, detail: str) -> Quarantined:
        return Quarantined(1, offset, error, detail, data[:RAW_LIMIT], len(data))

    if broken:
        yield quarantined(broken.error, f"after {len(data)} bytes of text: {broken.detail}")
        return
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        yield quarantined(ReadError.INVALID_UTF8, f"{error.reason} at byte {offset + error.start} of the file")
        return
    yield document_or_quarantine(1, offset, None, text, None, data)


def _join(blocks: Iterable[bytes]) -> tuple[bytes, BrokenStreamError | None]:
    parts: list[bytes] = []
    try:
        parts.extend(blocks)
    except BrokenStreamError as broken:
        return b"".join(parts), broken
    return b"".join(parts), None
