"""Tables in text: comma- and tab-separated files (RFC 4180), with the names of the columns in the first row.

Guarantees that every row behind the first is a record or in quarantine, with its number and the byte where it begins.
All values are text. Quotes are undone strictly: what they do not explain is no guess.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator

import orjson

from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.stages.read.records import (
    RAW_LIMIT,
    RECORD_LIMIT,
    BrokenStreamError,
    Quarantined,
    ReadError,
    Record,
    UnreadableFileError,
    document_or_quarantine,
    missing_column,
)
from llm_assets.stages.read.selection import Selection
from llm_assets.stages.read.text.lines import Line, lines_of

csv.field_size_limit(sys.maxsize)  # the limit is `RECORD_LIMIT`, of a whole row; the module's own, of 128 KiB, raises

_ROW_LIMIT = RECORD_LIMIT // 8
"""Bytes of a row: the csv module takes four bytes and more for each character of a cell."""


def read_comma_separated(blocks: Iterable[bytes], parameters: ReadParameters) -> Iterator[Record]:
    """The records of a decompressed .csv file."""
    return _read(_Rows(blocks, ","), Selection(parameters))


def read_tab_separated(blocks: Iterable[bytes], parameters: ReadParameters) -> Iterator[Record]:
    """The records of a decompressed .tsv file, quoted as in .csv files."""
    return _read(_Rows(blocks, "\t"), Selection(parameters))


def _read(rows: _Rows, selection: Selection) -> Iterator[Record]:
    header = rows.following()
    if header is None:
        return
    if isinstance(header, Quarantined):
        raise UnreadableFileError(header.error, f"the first row, which names the columns: {header.detail}")
    if not set(header) & set(selection.texts):
        yield from _without_text(rows, header, selection)
        return
    while (row := rows.following()) is not None:
        yield row if isinstance(row, Quarantined) else _record(rows, header, row, selection)


def _record(rows: _Rows, header: list[str], row: list[str], selection: Selection) -> Record:
    if len(row) != len(header):
        return rows.quarantined(ReadError.MALFORMED_ROW, f"{len(row)} cells, the first row has {len(header)}")
    taken = selection.take(dict(zip(header, row, strict=True)))
    metadata = orjson.dumps(taken.metadata, option=orjson.OPT_SORT_KEYS) if taken.metadata else None
    text = selection.joined(taken.texts) or ""
    return document_or_quarantine(rows.number, rows.offset, taken.own_id or None, text, metadata, rows.raw)


def _without_text(rows: _Rows, header: list[str], selection: Selection) -> Iterator[Quarantined]:
    """One entry for all rows of a file that has no text."""
    size = records = 0
    first: tuple[int, bytes] | None = None
    while rows.following() is not None:
        first = first or (rows.offset, rows.raw[:RAW_LIMIT])
        records, size = rows.number, size + len(rows.raw)
    if first:
        detail = missing_column(selection.texts, header)
        yield Quarantined(1, first[0], ReadError.MISSING_TEXT, detail, first[1], size, records)


class _TooLongError(Exception):
    """The row that is being read is over the limit."""


class _Rows:
    """The rows of a file one after the other, and the place of the one that came last; the header is row 0."""

    def __init__(self, blocks: Iterable[bytes], delimiter: str) -> None:
        self._lines = lines_of(blocks, any_end=True)
        self._delimiter = delimiter
        self._cells = self._parser()
        self._taken: list[Line] = []
        self._invalid: UnicodeDecodeError | None = None
        self._end = 0
        self.number = -1

    @property
    def offset(self) -> int:
        """Byte where the row begins."""
        return self._taken[0].offset if self._taken else self._end

    @property
    def raw(self) -> bytes:
        """The row as it came, without the end of its last line."""
        data = b"".join(line.data + line.end for line in self._taken)
        return data.removesuffix(self._taken[-1].end) if self._taken else data

    def following(self) -> list[str] | Quarantined | None:
        """The cells of the next row that is not blank, or why there are none; None behind the last."""
        while True:
            self._taken, self._invalid = [], None
            try:
                cells = next(self._cells)
            except StopIteration:
                return None
            except (csv.Error, _TooLongError, BrokenStreamError) as problem:
                self.number += 1
                return self._unread(problem)
            if not self.raw.isspace() and cells:
                self.number += 1
                return self._decoded(cells)

    def quarantined(self, error: ReadError, detail: str) -> Quarantined:
        """The entry of the row that came last."""
        return Quarantined.of(self.number, self.offset, error, detail, self.raw)

    def _parser(self) -> Iterator[list[str]]:
        return csv.reader(self._strings(), delimiter=self._delimiter, strict=True)

    def _strings(self) -> Iterator[str]:
        """The lines for the parser, which takes as many as a row has; bytes that are no UTF-8 as surrogates."""
        size = 0
        for line in self._lines:
            size = size + line.size if self._taken else line.size
            self._taken.append(line)
            self._end = line.offset + line.size + len(line.end)
            if size > _ROW_LIMIT:
                raise _TooLongError(f"over {_ROW_LIMIT:,} bytes")
            data = line.data + line.end
            try:
                text = data.decode()
            except UnicodeDecodeError as error:
                self._invalid = self._invalid or error
                text = data.decode(errors="surrogateescape")
            yield text

    def _decoded(self, cells: list[str]) -> list[str] | Quarantined:
        if self._invalid is None:
            return cells
        detail = f"{self._invalid.reason} at byte {self._invalid.start} of a line"
        return self.quarantined(ReadError.INVALID_UTF8, detail)

    def _unread(self, problem: Exception) -> Quarantined:
        if isinstance(problem, BrokenStreamError):
            self._cells = iter(())
            detail = f"at row {self.number}: {problem.detail}"
            data = b"".join(line.data + line.end for line in self._taken) + problem.pending
            return Quarantined.of(self.number, self.offset, problem.error, detail, data)
        lines = f"lines {self._taken[0].number} to {self._taken[-1].number}"
        if isinstance(problem, _TooLongError):
            self._cells = self._parser()
            detail = f"{lines}: a quote that is not closed, or a row {problem}: split it before it lands"
            return self.quarantined(ReadError.TOO_LARGE, detail)
        return self.quarantined(ReadError.MALFORMED_ROW, f"{lines}: {problem}")
