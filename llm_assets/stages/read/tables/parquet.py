"""Parquet: one record per row, read row group by row group in batches of bounded size.

Guarantees that every row the file's metadata speaks of is yielded or stands in an entry of quarantine, that only the
columns asked for are read, and that an intact file is never called corrupt. What a batch may take is in `plan.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from llm_assets.stages.read.layers.compression import signature
from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.stages.read.records import BrokenStreamError, Quarantined, ReadError, Record, UnreadableFileError
from llm_assets.stages.read.selection import Selection
from llm_assets.stages.read.tables.batches import SLICE_BYTES, Rows, records_of
from llm_assets.stages.read.tables.columns import raise_unless_damage
from llm_assets.stages.read.tables.footer import INT96, Chunk, RowGroup, read_footer
from llm_assets.stages.read.tables.pages import has_empty_page
from llm_assets.stages.read.tables.plan import MOST_ROWS, Plan, TooLargeError, plan_row_group
from llm_assets.stages.read.tables.schemas import chosen_columns, text_problem
from llm_assets.stages.read.tables.thrift import DamagedThriftError

_MAGIC = b"PAR1"
_ENCRYPTED = b"PARE"
_COLUMN_BUFFER = 1 << 20
_AT_ONCE = 32 << 20
"""Row groups up to this size are fetched in few large reads, larger ones column by column in small ones."""


def read_parquet(file: IO[bytes], parameters: ReadParameters) -> Iterator[Record]:
    """The rows of a Parquet file.

    Where a row group cannot be decoded, one entry stands for its unread rows; where the file has no text, for all rows.
    """
    selection = Selection(parameters)
    table = ParquetTable(file, selection)
    problem = text_problem(table.schema, selection)
    if problem and (rows := sum(group.rows for group in table.groups)):
        yield Quarantined(1, None, *problem, b"", file.seek(0, os.SEEK_END), rows)
        return
    before = 0
    for number, group in enumerate(table.groups):
        seen, lost = 0, None
        try:
            for batch, seconds in table.batches(number):
                yield from records_of(Rows(batch, before + seen, table.stored(group), seconds), selection)
                seen += batch.num_rows
        except BrokenStreamError as broken:
            lost = broken
        if lost is None and seen < group.rows:
            lost = BrokenStreamError(ReadError.CORRUPT_FILE, "the row group ends before its last row")
        if lost:
            which = f"row group {number + 1} of {len(table.groups)}"
            yield _unread(group, which, before, seen, table.explained(group, lost))
        before += max(group.rows, seen)


def _unread(group: RowGroup, which: str, before: int, seen: int, lost: BrokenStreamError) -> Quarantined:
    """The entry for the rows of a row group behind those that were seen."""
    rows = max(1, group.rows - seen)
    size = sum(chunk.size for chunk in group.chunks) * rows // max(1, group.rows)
    record = before + seen + 1
    detail = f"{which}, {rows} rows from row {record} on: {lost.detail}"
    return Quarantined(record, None, lost.error, detail, b"", size, rows)


class ParquetTable:
    """An open file, of which the columns are read that are asked for."""

    def __init__(self, file: IO[bytes], selection: Selection) -> None:
        _check_ends(file)
        self._file = file
        try:
            self.groups = read_footer(file)
            table = pq.ParquetFile(file)
            self.schema = table.schema_arrow
            list(self.schema.names)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise UnreadableFileError(ReadError.UNSUPPORTED, f"Arrow does not read this: {error}") from error
        except (pa.ArrowException, OSError, UnicodeDecodeError, DamagedThriftError) as error:
            raise_unless_damage(error)
            raise UnreadableFileError(ReadError.CORRUPT_FILE, f"damaged Parquet footer: {error}") from error
        self._metadata = table.metadata
        self._columns = chosen_columns(self.schema, selection)

    def _chosen(self, group: RowGroup) -> list[Chunk]:
        if self._columns is None:
            return list(group.chunks)
        paths = tuple(f"{name}." for name in self._columns)
        return [chunk for chunk in group.chunks if f"{chunk.leaf.path}.".startswith(paths)]

    def stored(self, group: RowGroup) -> int:
        """Bytes of a row group's chosen columns, as stored."""
        return sum(chunk.stored for chunk in self._chosen(group))

    def batches(self, number: int) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch | None]]:
        """The rows of a row group, and those columns of theirs that hold INT96, in seconds.

        Raises BrokenStreamError where they cannot be decoded.
        """
        chunks = self._chosen(self.groups[number])
        times = [chunk.leaf.path for chunk in chunks if chunk.leaf.physical == INT96]
        try:
            plan = plan_row_group(self._file, self.groups[number], chunks)
            decoded = self._decoded(number, plan, self._columns, read_dictionary=list(plan.dictionaries))
            if not times:
                yield from ((batch, None) for batch in _gathered(decoded, plan))
                return
            # Arrow makes nanoseconds modulo 2^64 of INT96: the seconds tell what is missing
            seconds = self._decoded(number, plan, times, coerce_int96_timestamp_unit="s")
            yield from zip(decoded, seconds, strict=True)
        except TooLargeError as error:
            detail = f"{error}: too much for what is stored; `read.metadata` can leave a column out"
            raise BrokenStreamError(ReadError.TOO_LARGE, detail) from error
        except pa.ArrowNotImplementedError as error:
            raise BrokenStreamError(ReadError.UNSUPPORTED, str(error)) from error
        except (pa.ArrowException, OSError) as error:
            raise_unless_damage(error)
            raise BrokenStreamError(ReadError.CORRUPT_FILE, str(error)) from error

    def explained(self, group: RowGroup, lost: BrokenStreamError) -> BrokenStreamError:
        """Why rows of a row group could not be had: not for damage where Arrow is known not to read it."""
        if lost.error is not ReadError.CORRUPT_FILE:
            return lost
        if any(has_empty_page(self._file, chunk) for chunk in self._chosen(group)):
            detail = "Arrow takes a page without values for the end of its column"
            return BrokenStreamError(ReadError.UNSUPPORTED, detail)
        return lost

    def _decoded(self, number: int, plan: Plan, columns: list[str] | None, **options: Any) -> Iterator[pa.RecordBatch]:
        table = pq.ParquetFile(
            self._file,
            metadata=self._metadata,
            buffer_size=_COLUMN_BUFFER,
            pre_buffer=self.stored(self.groups[number]) <= _AT_ONCE,
            page_checksum_verification=True,
            **options,
        )
        return table.iter_batches(plan.rows, row_groups=[number], columns=columns, use_threads=False)


def _gathered(batches: Iterator[pa.RecordBatch], plan: Plan) -> Iterator[pa.RecordBatch]:
    """The rows in batches that are worth the trouble, where the plan is careful about a few long values."""
    if plan.rows >= MOST_ROWS // 4 or plan.dictionaries:
        yield from batches
        return
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(each.num_rows for each in held) >= MOST_ROWS or sum(each.nbytes for each in held) >= SLICE_BYTES:
            yield pa.concat_batches(held)
            held = []
    if held:
        yield pa.concat_batches(held)


def _check_ends(file: IO[bytes]) -> None:
    """Raises UnreadableFileError where a file does not begin and end as a Parquet file does."""
    head, size = file.read(len(_MAGIC)), file.seek(0, os.SEEK_END)
    if not (head in (_MAGIC, _ENCRYPTED) or _MAGIC.startswith(head)):
        found = signature(head)
        like = f"like {found}" if found else f"with the bytes {head.hex(' ')}"
        raise UnreadableFileError(ReadError.WRONG_FORMAT, f"not Parquet: it starts {like}")
    file.seek(max(0, size - len(_MAGIC)))
    tail = file.read()
    if tail == _ENCRYPTED:
        raise UnreadableFileError(ReadError.UNSUPPORTED, "the Parquet file is encrypted: decrypt it before it lands")
    if size < 3 * len(_MAGIC) or tail != _MAGIC:
        detail = "the footer of the Parquet file is missing: without it no row can be read"
        raise UnreadableFileError(ReadError.TRUNCATED_FILE, detail)
