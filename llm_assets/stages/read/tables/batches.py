"""Rows of decoded tables as records: what Parquet and Arrow files have in common.

Guarantees one record for every row, at most `SLICE_BYTES` of values at a time however many rows come decoded at once,
and that strings which are not UTF-8 (Arrow does not check) cost their row and no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from pyarrow import types

from llm_assets.stages.read.records import Quarantined, ReadError, Record, encoded_document
from llm_assets.stages.read.selection import Selection
from llm_assets.stages.read.tables.columns import Column, json_values
from llm_assets.stages.read.tables.plan import EXPANSION, is_expanded
from llm_assets.stages.read.tables.schemas import Path, column_at, resolved, without
from llm_assets.stages.read.tables.sizes import row_sizes

SLICE_BYTES = 8 << 20
ROW_BYTES = 64 << 20


@dataclass(frozen=True)
class Rows:
    """Decoded rows of a table, the first of which is row `before` + 1 of its file.

    `seconds` holds those columns whose times of nanoseconds may have wrapped, in seconds. `stored` is how many bytes of
    the file the rows and their neighbours come from.
    """

    batch: pa.RecordBatch
    before: int
    stored: int
    seconds: pa.RecordBatch | None = None

    def slice(self, start: int, rows: int) -> Rows:
        """Some of the rows."""
        seconds = self.seconds.slice(start, rows) if self.seconds is not None else None
        return Rows(self.batch.slice(start, rows), self.before + start, self.stored, seconds)


def records_of(rows: Rows, selection: Selection) -> Iterator[Record]:
    """A record for each of the rows."""
    columns = [row_sizes(column) for column in rows.batch.columns]
    sizes = sum(columns, np.zeros(rows.batch.num_rows, np.int64))
    behind = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        if is_expanded(int(sizes[start]), rows.stored, ROW_BYTES):
            largest = rows.batch.schema.names[int(np.argmax([column[start] for column in columns]))]
            yield _too_large(rows.before + start + 1, int(sizes[start]), largest)
            start += 1
            continue
        end = int(np.searchsorted(behind, behind[start] - sizes[start] + SLICE_BYTES, side="right"))
        end = max(start + 1, end)
        yield from _Slice(rows.slice(start, end - start), selection).records()
        start = end


def _too_large(record: int, size: int, column: str) -> Quarantined:
    detail = (
        f"decoded, the row has {size:,} bytes, most of them in column {column!r}: over {ROW_BYTES:,}, and over "
        f"{EXPANSION} times what is stored; `read.metadata` can leave a column out"
    )
    return Quarantined(record, None, ReadError.TOO_LARGE, detail, b"", size)


class _Slice:
    """Some rows whose values fit into memory. Of columns of one name, the last counts."""

    def __init__(self, rows: Rows, selection: Selection) -> None:
        self._before = rows.before
        self._length = rows.batch.num_rows
        self._schema = rows.batch.schema
        self._columns = _by_name(rows.batch)
        self._seconds = _by_name(rows.seconds) if rows.seconds is not None else {}
        self._selection = selection

    def records(self) -> Iterator[Record]:
        """A record per row."""
        invalid: dict[int, str] = {}
        texts = [self._texts(name) for name in self._selection.texts]
        ids = self._ids(invalid)
        fields = self._metadata(invalid)
        for row in range(self._length):
            own_id = _own_id(ids[row])
            if row in invalid:
                yield self._quarantined(row, ReadError.INVALID_UTF8, invalid[row])
                continue
            metadata = _json({name: values[row] for name, values in fields.items()}) if fields else None
            yield self._read_row(row, [each[row] for each in texts], own_id, metadata)

    def _texts(self, name: str) -> list[bytes | None]:
        """One of the texts of each row, as bytes that may not be UTF-8; None where it is null or no such column."""
        path = resolved(self._schema, name)
        column = column_at(self._columns[path[0]], path[1:]) if path else None
        if column is None or types.is_null(column.type):
            return [None] * self._length
        if types.is_dictionary(column.type):
            column = column.dictionary_decode()
        return column.cast(pa.large_binary()).to_pylist()

    def _ids(self, invalid: dict[int, str]) -> list[Any]:
        name = self._selection.parameters.id_field
        path = resolved(self._schema, name)
        return self._cells(name, path, invalid) if path else [None] * self._length

    def _metadata(self, invalid: dict[int, str]) -> dict[str, list[Any]]:
        """The values of the columns and fields that are kept."""
        if self._selection.listed is not None:
            paths = {name: resolved(self._schema, name) for name in self._selection.listed}
            return {name: self._cells(name, path, invalid) for name, path in paths.items() if path}
        used = (resolved(self._schema, name) for name in (*self._selection.texts, self._selection.parameters.id_field))
        taken = [path for path in used if path]
        rest = {name: self._rest(name, [path[1:] for path in taken if path[0] == name]) for name in self._columns}
        return {name: _json_cells(name, *pair, invalid) for name, pair in rest.items() if pair}

    def _rest(self, name: str, taken: list[Path]) -> tuple[Column, Column | None] | None:
        """A column, and the same in seconds, without the fields that are text or id; None where nothing is left."""
        column, seconds = self._columns[name], self._seconds.get(name)
        for path in taken:
            column, seconds = without(column, path), without(seconds, path)
        return None if column is None else (column, seconds)

    def _cells(self, name: str, path: Path, invalid: dict[int, str]) -> list[Any]:
        column = column_at(self._columns[path[0]], path[1:])
        return _json_cells(name, column, column_at(self._seconds.get(path[0]), path[1:]), invalid)

    def _read_row(self, row: int, texts: list[bytes | None], own_id: str | None, metadata: bytes | None) -> Record:
        names = self._selection.texts
        where = f"column {names[0]!r}" if len(names) == 1 else f"the columns {', '.join(map(repr, names))}"
        try:
            data = self._selection.joined_bytes(texts)
        except UnicodeDecodeError as error:
            detail = f"{where}: {error.reason} at byte {error.start}"
            return self._quarantined(row, ReadError.INVALID_UTF8, detail, own_id, metadata)
        if data is None:
            return self._quarantined(row, ReadError.MISSING_TEXT, f"{where} is null", own_id, metadata)
        return encoded_document(self._before + row + 1, None, own_id, data, metadata, where)

    def _quarantined(
        self, row: int, error: ReadError, detail: str, own_id: str | None = None, metadata: bytes | None = None
    ) -> Quarantined:
        """The entry of a row, with the row as JSON."""
        raw = _json({name: values[row] for name, values in self._lenient.items()})
        return Quarantined.of(self._before + row + 1, None, error, detail, raw, own_id, metadata)

    @cached_property
    def _lenient(self) -> dict[str, list[Any]]:
        """All columns, with `\\xNN` for the bytes of a string that are not UTF-8."""
        seconds = self._seconds
        return {name: json_values(each, "backslashreplace", seconds.get(name)) for name, each in self._columns.items()}


def _by_name(batch: pa.RecordBatch) -> dict[str, Column]:
    return dict(zip(batch.schema.names, batch.columns, strict=True))


def _json_cells(name: str, column: Column, seconds: Column | None, invalid: dict[int, str]) -> list[Any]:
    """The values of a column; for those that are not UTF-8 None, and an entry in `invalid`."""
    try:
        return json_values(column, "strict", seconds)
    except UnicodeDecodeError:
        values: list[Any] = []
    for row in range(len(column)):
        try:
            one = None if seconds is None else seconds.slice(row, 1)
            values.extend(json_values(column.slice(row, 1), "strict", one))
        except UnicodeDecodeError as error:
            values.append(None)
            invalid.setdefault(row, f"column {name!r}: {error.reason} at byte {error.start}")
    return values


def _own_id(value: Any) -> str | None:
    return value if value is None or type(value) is str else _json(value).decode()


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
