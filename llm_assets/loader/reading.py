"""Reads rows of the stream from the set: token ids as stored, and the runs of documents in them.

Guarantees that damaged lengths are an error that names shard and row, and that ids of a local set are views of the
mapped files, not copies. Tensors are made of them by `batch` and `device`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llm_assets.loader.epoch_order import EpochOrder
from llm_assets.loader.runs import RowError, Runs, runs_of
from llm_assets.store.shards.shard_set import DocumentLengths, ShardCorruptError, ShardSet


class RowSpan(NamedTuple):
    """Rows `first` to `last` (exclusive) of the set; the rows read are parts `skip` to `stop` (exclusive) of these."""

    first: int
    last: int
    skip: int
    stop: int

    @property
    def rows(self) -> int:
        """Number of rows of the stream."""
        return self.stop - self.skip


@dataclass(frozen=True)
class RowsRead:
    """`rows` rows of the stream: token ids as arrays [*, length] of the stored type, and the spans they come from."""

    rows: int
    pieces: Sequence[NDArray[Any]]
    spans: Sequence[RowSpan]
    runs: Runs | None


class RowReader:
    """Reads rows of `length` tokens, which divides the sequence length of the set."""

    def __init__(self, shards: ShardSet, order: EpochOrder, length: int, *, with_runs: bool) -> None:
        self._set = shards
        self._order = order
        self._length = length
        self._parts = shards.sequence_length // length
        self._with_runs = with_runs

    def read(self, starts: Sequence[int], rows: int) -> RowsRead:
        """Read `rows` rows of the stream from each start on. Raises what `ShardSet` raises."""
        spans = [span for start in starts for span in self._spans(start, start + rows)]
        pieces: list[NDArray[Any]] = []
        documents: list[DocumentLengths] = []
        for span in spans:  # each shard is done with before the next one is read: a cache may hold just one
            ids = self._set.input_ids(span.first, span.last)
            pieces.append(ids if self._parts == 1 else ids.reshape(-1, self._length)[span.skip : span.stop])
            if self._with_runs:
                documents.append(self._set.document_lengths(span.first, span.last))
        runs = self._runs(spans, documents) if self._with_runs else None
        return RowsRead(rows * len(starts), pieces, spans, runs)

    def _spans(self, first: int, last: int) -> list[RowSpan]:
        parts = self._parts
        if parts == 1:
            return [RowSpan(start, stop, 0, stop - start) for start, stop in self._ranges(first, last)]
        spans: list[RowSpan] = []
        skip = first % parts
        rows = last - first
        for start, stop in self._ranges(first // parts, -(-last // parts)):
            end = min((stop - start) * parts, skip + rows)
            spans.append(RowSpan(start, stop, skip, end))
            rows -= end - skip
            skip = 0
        return spans

    def _ranges(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """The ranges of `EpochOrder.ranges`, cut at the ends of shards."""
        for start, stop in self._order.ranges(first, last):
            for _, begin, end in self._set.index.layout.within_shards(start, stop):
                yield begin, end

    def _runs(self, spans: Sequence[RowSpan], documents: Sequence[DocumentLengths]) -> Runs:
        try:
            runs = runs_of(_joined(documents), self._set.sequence_length, self._length)
        except RowError as error:
            raise self.corrupt(spans, error.row * self._parts, error.problem, packed=True) from error
        if sum(span.rows for span in spans) == runs.rows:
            return runs
        keep = np.zeros(runs.rows, np.bool_)
        before = 0
        for span in spans:
            keep[before + span.skip : before + span.stop] = True
            before += (span.last - span.first) * self._parts
        return runs.select(keep)

    def corrupt(self, spans: Sequence[RowSpan], row: int, problem: str, *, packed: bool = False) -> ShardCorruptError:
        """An error about one row that names its shard and its number in the set.

        `row` counts the rows of the stream in the spans; with `packed`, also the parts that the spans leave out.
        """
        for span in spans:
            count = (span.last - span.first) * self._parts if packed else span.rows
            if row < count:
                number = span.first + (row if packed else row + span.skip) // self._parts
                index = self._set.index
                file = index.shard_file(number // index.layout.rows_per_shard)
                return ShardCorruptError(f"{self._set.uri}/{file}", f"row {number} of the set {problem}")
            row -= count
        raise IndexError(f"row {row} is beyond the rows read")


def _joined(parts: Sequence[DocumentLengths]) -> DocumentLengths:
    if len(parts) == 1:
        return parts[0]
    counts = np.concatenate([np.diff(part.offsets) for part in parts])
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return DocumentLengths(offsets, np.concatenate([part.lengths for part in parts]))
