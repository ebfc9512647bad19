"""Arrow files (`.arrow`, and `.feather` of version 2) and Arrow streams: one record per row.

Guarantees that only the columns asked for are read, and that of a damaged or cut file all batches before the damage
are. A batch is in memory as its writer made it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa

from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.stages.read.records import BrokenStreamError, Quarantined, ReadError, Record, UnreadableFileError
from llm_assets.stages.read.selection import Selection
from llm_assets.stages.read.tables.batches import Rows, records_of
from llm_assets.stages.read.tables.columns import is_text, raise_unless_damage
from llm_assets.stages.read.tables.schemas import chosen_columns, text_problem

_FILE = b"ARROW1\0\0"
"""Begins a file, whose record batches follow as in a stream, with an index behind them."""
_STREAM = b"\xff\xff\xff\xff"
_FEATHER_1 = b"FEA1"


def read_arrow(file: IO[bytes], parameters: ReadParameters) -> Iterator[Record]:
    """The rows of an Arrow file or stream.

    Where it is damaged, one entry stands for what is lost; where it has no text, one stands for all rows.
    """
    selection = Selection(parameters)
    size = file.seek(0, os.SEEK_END)
    source = _Source(file, selection)
    problem = text_problem(source.schema, selection)
    before = 0
    try:
        for batch in source.batches():
            if problem is None:
                yield from _records(Rows(batch, before, size), selection)
            before += batch.num_rows
    except BrokenStreamError as broken:
        yield Quarantined.of(before + 1, None, broken.error, f"after row {before}: {broken.detail}", b"")
    if problem and before:
        yield Quarantined(1, None, *problem, b"", size, before)


def _records(rows: Rows, selection: Selection) -> Iterator[Record]:
    """The records of a batch; one entry for all where its buffers are not what they say, which Arrow does not test."""
    batch = rows.batch
    try:
        for column in batch.columns:
            _as_bytes(column).validate(full=True)
    except pa.ArrowInvalid as error:
        kind = ReadError.INVALID_UTF8 if "UTF8" in str(error) else ReadError.CORRUPT_FILE
        detail = f"{batch.num_rows} rows from row {rows.before + 1} on: {error}"
        yield Quarantined(rows.before + 1, None, kind, detail, b"", batch.nbytes, batch.num_rows)
        return
    yield from records_of(rows, selection)


def _as_bytes(column: Any) -> Any:
    """A column of strings as one of bytes: whether they are UTF-8 is found out row by row."""
    if not is_text(column.type):
        return column
    views = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary(), pa.string_view(): pa.binary_view()}
    return column.view(views[column.type])


class _Source:
    """An Arrow file or stream at its beginning. Raises UnreadableFileError for what is neither."""

    def __init__(self, file: IO[bytes], selection: Selection) -> None:
        file.seek(0)
        head = file.read(len(_FILE))
        self._file = file
        self._in_file = head == _FILE
        if head.startswith(_FEATHER_1):
            detail = "Feather of version 1: write it again with a pyarrow of this decade"
            raise UnreadableFileError(ReadError.UNSUPPORTED, detail)
        if not (self._in_file or head.startswith(_STREAM)):
            detail = f"not Arrow: it starts with the bytes {head.hex(' ')}"
            raise UnreadableFileError(ReadError.WRONG_FORMAT, detail)
        try:
            self.schema: pa.Schema = self._stream().schema
        except (pa.ArrowException, OSError) as error:
            raise UnreadableFileError(ReadError.CORRUPT_FILE, f"damaged Arrow schema: {error}") from error
        names = chosen_columns(self.schema, selection)
        chosen = [place for place, name in enumerate(self.schema.names) if names is None or _is_in(name, names)]
        self._options = pa.ipc.IpcReadOptions(included_fields=chosen, use_threads=False)

    def _stream(self, **options: Any) -> Any:
        self._file.seek(len(_FILE) if self._in_file else 0)
        return pa.ipc.open_stream(self._file, **options)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The record batches, of the columns asked for. Raises BrokenStreamError behind the last whole one."""
        try:
            yield from self._by_index() if self._in_file else self._stream(options=self._options)
        except pa.ArrowNotImplementedError as error:
            raise BrokenStreamError(ReadError.UNSUPPORTED, str(error)) from error
        except (pa.ArrowException, OSError) as error:
            raise_unless_damage(error)
            raise BrokenStreamError(ReadError.CORRUPT_FILE, str(error)) from error

    def _by_index(self) -> Iterator[pa.RecordBatch]:
        try:
            self._file.seek(0)
            table = pa.ipc.open_file(self._file, options=self._options)
        except (pa.ArrowInvalid, OSError) as error:
            raise_unless_damage(error)
            yield from self._stream(options=self._options)
            detail = "the index at the end of the file is missing or damaged"
            raise BrokenStreamError(ReadError.TRUNCATED_FILE, detail) from error
        for number in range(table.num_record_batches):
            yield table.get_batch(number)


def _is_in(column: str, names: list[str]) -> bool:
    return any(name == column or name.startswith(f"{column}.") for name in names)
