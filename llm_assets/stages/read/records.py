"""The items that readers of all formats yield: a record, or the error of one that could not be read.

Guarantees that every record carries its place in its file. How records become rows and ledger entries is
`rows.py`; which reader a file gets is `stage.py`.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from blake3 import blake3

DOC_ID_BYTES = 16
RAW_LIMIT = 64 << 10
"""Bytes that are kept of a quarantined record, and of its metadata."""
RECORD_LIMIT = 256 << 20
"""Bytes that a record may have: what is longer is skipped piece by piece, so that memory stays bounded."""


_DECODED_BYTES = 1 << 20


class ReadError(StrEnum):
    """Why a record, or a whole file, is in quarantine."""

    MALFORMED_JSON = "malformed_json"
    """Not JSON as RFC 8259 has it; also a number beyond a double, or fields nested deeper than 254 levels."""
    NOT_AN_OBJECT = "not_an_object"
    """JSON, but no object."""
    INVALID_UTF8 = "invalid_utf8"
    LONE_SURROGATE = "lone_surrogate"
    """A JSON escape such as `\\ud800` on its own: no Unicode text."""
    MISSING_TEXT = "missing_text"
    """No text field, or a null one."""
    TEXT_NOT_STRING = "text_not_string"
    EMPTY_DOCUMENT = "empty_document"
    """A text that is empty or all whitespace."""
    TRUNCATED_FILE = "truncated_file"
    """The file ends too early: whatever came after this row's place is lost."""
    CORRUPT_FILE = "corrupt_file"
    """Damaged inside: the rest of a compressed file, or the rest of a Parquet row group, is lost. Decompressors may
    notice damage late, so records just before this row's place can be garbled (and then are malformed, or not)."""
    WRONG_FORMAT = "wrong_format"
    """The file is not what its name says."""
    EMPTY_FILE = "empty_file"
    """The file holds no record."""
    UNKNOWN_FORMAT = "unknown_format"
    """No reader for files of this suffix."""
    UNSUPPORTED = "unsupported"
    """Nothing says that it is damaged, but it uses what the reader does not know: an encoding, a type, encryption."""
    TOO_LARGE = "too_large"
    """Longer than `RECORD_LIMIT`, or a row or page of a table that takes far more memory than its file has bytes."""
    MALFORMED_ROW = "malformed_row"
    """A row of a delimited file whose quotes or number of cells are wrong."""
    UNREADABLE = "unreadable"
    """A reader that is no part of this package gave the record up; the detail says why."""
    READER_FAILED = "reader_failed"
    """The code of a reader that is no part of this package raised an error: what follows in the file is not read."""


@dataclass(slots=True)
class Kept:
    """A document. `record` counts from 1; `byte_offset` is into the decompressed file, None in Parquet.

    `text` is valid UTF-8; `metadata` is a JSON object in UTF-8, or None.
    """

    record: int
    byte_offset: int | None
    own_id: str | None
    text: bytes
    metadata: bytes | None


@dataclass(slots=True)
class Quarantined:
    """A record that could not be read. `raw` and `metadata` are cut to `RAW_LIMIT`; `size` is its whole length.

    `records` is more than 1 where one entry stands for many rows of a table. Metadata that were cut are no JSON.
    """

    record: int
    byte_offset: int | None
    error: ReadError
    detail: str
    raw: bytes
    size: int
    records: int = 1
    own_id: str | None = None
    metadata: bytes | None = None

    @classmethod
    def of(
        cls,
        record: int,
        byte_offset: int | None,
        error: ReadError,
        detail: str,
        raw: bytes,
        own_id: str | None = None,
        metadata: bytes | None = None,
    ) -> Self:
        """The entry of one record that came as `raw`."""
        return cls(
            record,
            byte_offset,
            error,
            detail,
            raw[:RAW_LIMIT],
            len(raw),
            own_id=own_id if own_id is None else _cut(own_id.encode()).decode(),
            metadata=metadata if metadata is None else _cut(metadata),
        )


Record = Kept | Quarantined


class UnreadableFileError(ValueError):
    """Nothing of the file can be read: it is not what its name says, or its end, where its index is, is missing."""

    def __init__(self, error: ReadError, detail: str) -> None:
        super().__init__(detail)
        self.error = error
        self.detail = detail


class BrokenStreamError(ValueError):
    """The data ends too early or is damaged here. All that could be read before it has been delivered.

    `pending` is what was delivered of the record that the break cut.
    """

    def __init__(self, error: ReadError, detail: str, pending: bytes = b"") -> None:
        super().__init__(detail)
        self.error = error
        self.detail = detail
        self.pending = pending


def document_id(own_id: str | None, text: bytes) -> bytes:
    """The 16 bytes that identify a document: a hash of its own id (if any) and its text, and of nothing else.

    BLAKE3 over a byte 0 and the text, or a byte 1, the length of the id in UTF-8 (8 bytes, little-endian), the id
    and the text; so no two different pairs give the same input.
    """
    if own_id is None:
        return blake3(b"\0" + text).digest(DOC_ID_BYTES)
    key = own_id.encode()
    return blake3(b"\1" + len(key).to_bytes(8, "little") + key + text).digest(DOC_ID_BYTES)


def document_or_quarantine(
    record: int, byte_offset: int | None, own_id: str | None, text: str, metadata: bytes | None, raw: bytes
) -> Record:
    """The document, unless its text is empty, all whitespace or too long. `raw` is the record as it came."""
    if not text or text.isspace():
        error, detail = ReadError.EMPTY_DOCUMENT, "the text is all whitespace" if text else "the text is empty"
    elif len(encoded := text.encode()) > RECORD_LIMIT:
        error, detail = ReadError.TOO_LARGE, too_long(len(encoded))
    else:
        return Kept(record, byte_offset, own_id, encoded, metadata)
    return Quarantined.of(record, byte_offset, error, detail, raw, own_id, metadata)


def encoded_document(
    record: int, byte_offset: int | None, own_id: str | None, text: bytes, metadata: bytes | None, where: str
) -> Record:
    """The document whose text is given in UTF-8, or what `document_or_quarantine` makes of it.

    `where` names the text, should it be no UTF-8: then the record is in quarantine. A long text is not decoded at once.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_blank = True
    for start in range(0, len(text), _DECODED_BYTES) or (0,):
        try:
            part = decoder.decode(text[start : start + _DECODED_BYTES], start + _DECODED_BYTES >= len(text))
        except UnicodeDecodeError as error:
            place = start - (len(error.object) - len(text[start : start + _DECODED_BYTES])) + error.start
            detail = f"{where}: {error.reason} at byte {place}"
            return Quarantined.of(record, byte_offset, ReadError.INVALID_UTF8, detail, text, own_id, metadata)
        is_blank = is_blank and (not part or part.isspace())
    if is_blank or len(text) > RECORD_LIMIT:
        return document_or_quarantine(record, byte_offset, own_id, text.decode(), metadata, text)
    return Kept(record, byte_offset, own_id, text, metadata)


def too_long(size: int) -> str:
    """Says that a record of so many bytes (or more) is over `RECORD_LIMIT`, and what to do."""
    return f"the record has {size:,} bytes, over the limit of {RECORD_LIMIT:,}: split it before it lands"


def missing_column(wanted: Sequence[str], there: Sequence[str]) -> str:
    """Says that a table has none of the columns that make the text."""
    names = " or ".join(map(repr, wanted))
    return f"the file has no column {names}; it has: {', '.join(there) or 'none'}"


def _cut(data: bytes) -> bytes:
    """At most `RAW_LIMIT` bytes of valid UTF-8, cut between two characters."""
    return data if len(data) <= RAW_LIMIT else data[:RAW_LIMIT].decode(errors="ignore").encode()
