"""Plain text and Markdown: a document is the whole file, a line or a paragraph, without an id or metadata.

Guarantees that the text is the file's, byte for byte, but for a byte-order mark at its start and line ends that are
not to be kept. Lines end with LF, CRLF or CR. Paragraphs lie between blank lines: those with nothing but white space.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator

from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.stages.read.records import (
    RAW_LIMIT,
    RECORD_LIMIT,
    BrokenStreamError,
    Quarantined,
    ReadError,
    Record,
    encoded_document,
    too_long,
)
from llm_assets.stages.read.text.json_lines import cut_record
from llm_assets.stages.read.text.lines import Line, lines_of


def read_text(blocks: Iterable[bytes], parameters: ReadParameters) -> Iterator[Record]:
    """The records of a decompressed file."""
    if parameters.unit == "file":
        yield _read_file(blocks)
    elif parameters.unit == "line":
        yield from _read_lines(blocks, parameters.keep_line_ends)
    else:
        yield from _read_paragraphs(blocks, parameters.keep_line_ends)


def _read_file(blocks: Iterable[bytes]) -> Record:
    """The one record of a file; a part of a file is no document."""
    data, size, broken = _join(blocks)
    offset = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
    data, size = data[offset:], size - offset
    if broken:
        return Quarantined.of(1, offset, broken.error, f"after {size} bytes of text: {broken.detail}", data)
    if size > RECORD_LIMIT:
        return _too_large(1, offset, data, size)
    return encoded_document(1, offset, None, data, None, "the text")


def _join(blocks: Iterable[bytes]) -> tuple[bytes, int, BrokenStreamError | None]:
    """The file's beginning, as much of it as a record may have, its size, and the break that it ends with."""
    parts: list[bytes] = []
    size = 0
    broken: BrokenStreamError | None = None
    try:
        for block in blocks:
            if size <= RECORD_LIMIT:
                parts.append(block)
            size += len(block)
    except BrokenStreamError as error:
        broken = error
    return b"".join(parts), size, broken


def _too_large(record: int, offset: int, data: bytes, size: int) -> Quarantined:
    return Quarantined(record, offset, ReadError.TOO_LARGE, too_long(size), data[:RAW_LIMIT], size)


def _read_lines(blocks: Iterable[bytes], keep_ends: bool) -> Iterator[Record]:
    number = offset = 0
    try:
        for line in lines_of(blocks, any_end=True):
            number, offset = line.number, line.offset + line.size + len(line.end)
            if not line.is_whole:
                yield _too_large(number, line.offset, line.data, line.size)
            elif not _is_blank(line.data):
                yield encoded_document(
                    number, line.offset, None, line.data + line.end if keep_ends else line.data, None, "the line"
                )
    except BrokenStreamError as broken:
        yield cut_record(number, offset, broken)


def _is_blank(data: bytes) -> bool:
    """Whether there is nothing but white space, of any script."""
    rest = data.strip()
    return not rest or ((rest[0] > 0x7F or rest[0] < 0x20) and rest.decode(errors="replace").isspace())


def _read_paragraphs(blocks: Iterable[bytes], keep_ends: bool) -> Iterator[Record]:
    paragraph = _Paragraph(keep_ends)
    number = offset = 0
    try:
        for line in lines_of(blocks, any_end=True):
            offset = line.offset + line.size + len(line.end)
            if line.is_whole and _is_blank(line.data):
                if paragraph.is_begun:
                    number += 1
                    yield paragraph.ended(number)
            else:
                paragraph.add(line)
    except BrokenStreamError as broken:
        start = paragraph.offset if paragraph.is_begun else offset
        detail = f"at paragraph {number + 1}: {broken.detail}"
        yield Quarantined.of(number + 1, start, broken.error, detail, paragraph.data + broken.pending)
        return
    if paragraph.is_begun:
        yield paragraph.ended(number + 1)


class _Paragraph:
    """The lines of a paragraph, as many as a record may have."""

    def __init__(self, keep_end: bool) -> None:
        self._keep_end = keep_end
        self._lines: list[Line] = []
        self._size = 0

    @property
    def is_begun(self) -> bool:
        return self._size > 0

    @property
    def offset(self) -> int:
        return self._lines[0].offset

    @property
    def data(self) -> bytes:
        return b"".join(line.data + line.end for line in self._lines)

    def add(self, line: Line) -> None:
        if self._size <= RECORD_LIMIT:
            self._lines.append(line)
        self._size += line.size + len(line.end)

    def ended(self, record: int) -> Record:
        offset, data, size, end = self.offset, self.data, self._size, self._lines[-1].end
        self._lines, self._size = [], 0
        if size > RECORD_LIMIT:
            return _too_large(record, offset, data, size)
        text = data if self._keep_end else data.removesuffix(end)
        return encoded_document(record, offset, None, text, None, "the paragraph")
