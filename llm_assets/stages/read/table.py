"""Parquet: one record per row, read row group by row group in small batches.

Guarantees that every row the file's metadata speaks of is yielded or stands in a `corrupt_file` record, and that
strings which are not UTF-8 (Arrow does not check) cost their row and no other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from typing import IO, Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from llm_assets.stages.read.columns import Column, is_text, json_values
from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.stages.read.records import (
    RAW_LIMIT,
    BrokenStreamError,
    Quarantined,
    ReadError,
    Record,
    UnreadableFileError,
    document_or_quarantine,
)
from llm_assets.stages.read.streams import signature

_MAGIC = b"PAR1"
_BATCH_BYTES = 8 << 20
_BATCH_ROWS = 1024
_COLUMN_BUFFER = 1 << 20


def read_table(file: IO[bytes], parameters: ReadParameters) -> Iterator[Record]:
    """The rows of a Parquet file. Where a row group cannot be decoded, one record stands for its unread rows."""
    table = _open(file)
    before = 0
    for group in range(table.num_row_groups):
        declared = int(table.metadata.row_group(group).num_rows)
        seen = 0
        damage = "the row group ends before its last row"
        try:
            for batch in _batches(table, group):
                yield from _Batch(batch, before + seen, parameters).records()
                seen += batch.num_rows
            intact = seen >= declared
        except BrokenStreamError as broken:
            intact, damage = False, broken.detail
        if not intact:
            yield _unread_rows(table, group, before + seen + 1, max(1, declared - seen), damage)
        before += max(declared, seen)


def _open(file: IO[bytes]) -> pq.ParquetFile:
    head, size = file.read(len(_MAGIC)), file.seek(0, os.SEEK_END)
    if not (head == _MAGIC or _MAGIC.startswith(head)):
        found = signature(head)
        like = f"like {found}" if found else f"with the bytes {head.hex(' ')}"
        raise UnreadableFileError(ReadError.WRONG_FORMAT, f"not Parquet: it starts {like}")
    file.seek(max(0, size - len(_MAGIC)))
    if size < 3 * len(_MAGIC) or file.read() != _MAGIC:
        detail = "the footer of the Parquet file is missing: without it no row can be read"
        raise UnreadableFileError(ReadError.TRUNCATED_FILE, detail)
    try:
        table = pq.ParquetFile(file, buffer_size=_COLUMN_BUFFER, page_checksum_verification=True)
        list(table.schema_arrow.names)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        _raise_unless_damage(error)
        raise UnreadableFileError(ReadError.CORRUPT_FILE, f"damaged Parquet footer: {error}") from error
    return table


def _batches(table: pq.ParquetFile, group: int) -> Iterator[pa.RecordBatch]:
    """A row group's rows. Raises BrokenStreamError where they cannot be decoded."""
    metadata = table.metadata.row_group(group)
    fitting = _BATCH_BYTES * metadata.num_rows // max(1, metadata.total_byte_size)
    rows = max(1, min(_BATCH_ROWS, fitting))
    try:
        yield from table.iter_batches(batch_size=rows, row_groups=[group], use_threads=False)
    except (pa.ArrowException, OSError) as error:
        _raise_unless_damage(error)
        raise BrokenStreamError(ReadError.CORRUPT_FILE, str(error)) from error


def _raise_unless_damage(error: Exception) -> None:
    """Raise again what says nothing about the file: want of memory, or a read that failed. Arrow reports damage as an
    OSError too, but a plain one without a number."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and (type(error) is not OSError or error.errno)):
        raise error


def _unread_rows(table: pq.ParquetFile, group: int, record: int, records: int, damage: str) -> Quarantined:
    metadata = table.metadata.row_group(group)
    size = max(0, metadata.total_byte_size) * records // max(1, metadata.num_rows)
    detail = f"row group {group + 1} of {table.num_row_groups}, {records} rows from row {record} on: {damage}"
    return Quarantined(record, None, ReadError.CORRUPT_FILE, detail, b"", size, records)


class _Batch:
    """One decoded batch, whose first row is row `before` + 1 of the file. Of columns of one name, the last counts."""

    def __init__(self, batch: pa.RecordBatch, before: int, parameters: ReadParameters) -> None:
        self._before = before
        self._length = batch.num_rows
        self._columns: dict[str, Column] = dict(zip(batch.schema.names, batch.columns, strict=True))
        self._text_field = parameters.text_field
        self._id_field = parameters.id_field

    def records(self) -> Iterator[Record]:
        """A record per row."""
        invalid: dict[int, str] = {}
        fields = {
            name: _json_cells(name, column, invalid)
            for name, column in self._columns.items()
            if name != self._text_field
        }
        ids = fields.pop(self._id_field, None)
        texts = self._texts()
        for row in range(self._length):
            own_id = _own_id(ids[row]) if ids is not None else None
            if row in invalid:
                yield self._quarantined(row, ReadError.INVALID_UTF8, invalid[row])
                continue
            metadata = _json({name: values[row] for name, values in fields.items()}) if fields else None
            yield self._read_row(row, texts[row], own_id, metadata)

    def _texts(self) -> list[bytes | None]:
        """The text of each row, as bytes that may not be UTF-8; None where it is null or no string."""
        column = self._columns.get(self._text_field)
        if column is not None and types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if column is None or not is_text(column.type):
            return [None] * self._length
        return column.cast(pa.large_binary()).to_pylist()

    def _read_row(self, row: int, data: bytes | None, own_id: str | None, metadata: bytes | None) -> Record:
        if data is None:
            return self._quarantined(row, *self._why_no_text(row), own_id, metadata)
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            detail = f"column {self._text_field!r}: {error.reason} at byte {error.start}"
            return self._quarantined(row, ReadError.INVALID_UTF8, detail, own_id, metadata, data)
        return document_or_quarantine(self._before + row + 1, None, own_id, text, metadata, data)

    def _why_no_text(self, row: int) -> tuple[ReadError, str]:
        name = self._text_field
        column = self._columns.get(name)
        if column is None:
            return ReadError.MISSING_TEXT, f"the file has no column {name!r}"
        if not column[row].is_valid:
            return ReadError.MISSING_TEXT, f"column {name!r} is null"
        return ReadError.TEXT_NOT_STRING, f"column {name!r} is of type {column.type}"

    def _quarantined(
        self,
        row: int,
        error: ReadError,
        detail: str,
        own_id: str | None = None,
        metadata: bytes | None = None,
        raw: bytes | None = None,
    ) -> Quarantined:
        """`raw` is the row as JSON unless given."""
        if raw is None:
            raw = _json({name: values[row] for name, values in self._lenient.items()})
        place = self._before + row + 1
        return Quarantined(place, None, error, detail, raw[:RAW_LIMIT], len(raw), own_id=own_id, metadata=metadata)

    @cached_property
    def _lenient(self) -> dict[str, list[Any]]:
        """All columns, with `\\xNN` for the bytes of a string that are not UTF-8."""
        return {name: json_values(column, "backslashreplace") for name, column in self._columns.items()}


def _json_cells(name: str, column: Column, invalid: dict[int, str]) -> list[Any]:
    """The values of a column; for those that are not UTF-8 None, and an entry in `invalid`."""
    try:
        return json_values(column)
    except UnicodeDecodeError:
        values: list[Any] = []
    for row in range(len(column)):
        try:
            values.extend(json_values(column.slice(row, 1)))
        except UnicodeDecodeError as error:
            values.append(None)
            invalid.setdefault(row, f"column {name!r}: {error.reason} at byte {error.start}")
    return values


def _own_id(value: Any) -> str | None:
    return value if value is None or type(value) is str else _json(value).decode()


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
