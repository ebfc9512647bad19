"""What the readers of all formats yield: a record that was read, or one that could not be, and why.

Guarantees that every record carries its place in its file. How records become rows and ledger entries is
`rows.py`; which reader a file gets is `stage.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from blake3 import blake3

DOC_ID_BYTES = 16
RAW_LIMIT = 64 << 10
"""Bytes of a quarantined record that are kept."""


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
    """A record that could not be read. `raw` may be cut to `RAW_LIMIT`; `size` is its whole length in bytes.

    `records` is more than 1 where one row stands for all rows of a Parquet row group that cannot be decoded.
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
    """The document, unless its text is empty or all whitespace. `raw` is the record as it came."""
    if text and not text.isspace():
        return Kept(record, byte_offset, own_id, text.encode(), metadata)
    detail = "the text is all whitespace" if text else "the text is empty"
    return Quarantined(
        record,
        byte_offset,
        ReadError.EMPTY_DOCUMENT,
        detail,
        raw[:RAW_LIMIT],
        len(raw),
        own_id=own_id,
        metadata=metadata,
    )
