"""External shuffle: puts the rows of a mixture in the order of its plan, reading every source once, front to back.

Guarantees the order of the plan in memory bounded by a bucket and a block, for any size of the mixture, without random
reads. The output is divided into buckets of consecutive positions that fit in memory. Each row read is appended to the
buckets in which the plan uses it, found by the inverse of the order; then one bucket after another is ordered. Where
one bucket holds the whole mixture, nothing is spilled.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from llm_assets.errors import LlmAssetsError
from llm_assets.stages.mix.plan import MixturePlan
from llm_assets.stages.mix.version.pool import Block, Pool, ranges
from llm_assets.store.shards.shard_set import DocumentLengths

BUCKET_BYTES = 1 << 30
"""Size of a bucket, and so the memory needed for it. A mixture up to this size is never spilled."""

BLOCK_BYTES = BUCKET_BYTES // 4
"""Bytes read at a time. For 1 TiB in 1,024 buckets, a block adds 256 KiB to each: an efficient write."""


class SpillError(LlmAssetsError, RuntimeError):
    """There is no room to spill, or spilled rows are damaged or missing."""


@dataclass(frozen=True)
class Ordered:
    """Consecutive rows of the mixture: token ids [n, sequence_length], document lengths, and sources int16 [n]."""

    input_ids: npt.NDArray[Any]
    lengths: DocumentLengths
    sources: npt.NDArray[np.int16]


@dataclass(frozen=True)
class _BucketRows:
    """Rows of one source for one bucket, with their positions in the source's stream."""

    source: int
    positions: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int32]
    input_ids: npt.NDArray[Any]


@dataclass(frozen=True)
class Shuffle:
    """Shuffles the rows of a pool into the order of a plan. Spills to the folder `spill`, which it creates."""

    plan: MixturePlan
    pool: Pool
    spill: Path
    bucket_bytes: int = BUCKET_BYTES
    block_bytes: int = BLOCK_BYTES

    @property
    def bytes_per_row(self) -> int:
        """Bytes of a spilled row: its tokens, its document lengths (by their mean number), its position."""
        rows = sum(packed.shards.rows for packed in self.pool.sets)
        documents = sum(packed.shards.index.documents for packed in self.pool.sets)
        return self.pool.row_bytes + 16 + 4 * -(-documents // max(rows, 1))

    @property
    def rows_per_bucket(self) -> int:
        """Rows that fit in a bucket, with the lengths of their documents."""
        return max(1, self.bucket_bytes // self.bytes_per_row)

    @property
    def buckets(self) -> int:
        """Number of buckets. A single one is not spilled."""
        return -(-self.plan.total_rows // self.rows_per_bucket)

    @property
    def spilled_bytes(self) -> int:
        """Bytes that are spilled: of all rows, or 0 for a single bucket."""
        return self.plan.total_rows * self.bytes_per_row if self.buckets > 1 else 0

    def rows(self) -> Iterator[Ordered]:
        """All rows of the mixture in order, a bucket at a time. Raises SpillError."""
        step, total = self.rows_per_bucket, self.plan.total_rows
        cuts = [*range(0, total, step), total]
        if len(cuts) == 2:
            bucket = _Bucket.at(self.plan, self.pool, 0, total)
            for _, rows in self._bucket_rows(cuts):
                bucket.put(rows)
            yield bucket.ordered()
            return
        self.spill.mkdir(parents=True)
        self._check_room()
        for number, rows in self._bucket_rows(cuts):
            try:
                _append(self._file(number), rows)
            except OSError as error:
                raise SpillError(f"cannot spill ({error.strerror}): {self._room()}") from error
        for number, (first, last) in enumerate(pairwise(cuts)):
            bucket = _Bucket.at(self.plan, self.pool, first, last)
            for rows in _read(self._file(number), self.pool):
                bucket.put(rows)
            yield bucket.ordered()
            self._file(number).unlink()
        self.spill.rmdir()

    def _check_room(self) -> None:
        """Check the free space before writing for hours. The shuffled rows need no more: spilled ones are deleted as
        they are written.
        """
        if shutil.disk_usage(self.spill).free < self.spilled_bytes:
            raise SpillError(f"there is no room to spill: {self._room()}")

    def _room(self) -> str:
        free = shutil.disk_usage(self.spill).free
        return (
            f"{self.spill} needs {self.spilled_bytes:,} bytes in all, and {free:,} are free now. Make room "
            "there (or raise the quota), or shorten the mixture"
        )

    def _file(self, bucket: int) -> Path:
        return self.spill / f"{bucket:06d}"

    def _bucket_rows(self, cuts: list[int]) -> Iterator[tuple[int, _BucketRows]]:
        """All rows of the pool, as often as the plan uses them, each group with the number of its bucket."""
        numbers = {name: number for number, name in enumerate(self.plan.names)}
        bounds = np.array([self.plan.order.at(cut) for cut in cuts])
        for block in self.pool.blocks(self.block_bytes // self.pool.row_bytes):
            if block.source in numbers:
                yield from self._rows_of(block, numbers[block.source], bounds[:, numbers[block.source]])

    def _rows_of(self, block: Block, number: int, bounds: npt.NDArray[np.int64]) -> Iterator[tuple[int, _BucketRows]]:
        """The rows of a block by bucket. `bounds`: positions of the source's stream where buckets begin and end."""
        source = self.plan.sources[number]
        rows = np.arange(block.first, block.first + len(block.input_ids))
        offsets = block.lengths.offsets
        for used, positions in source.stream.positions_of(rows, source.begin, source.end):
            if not len(used):
                continue
            bucket = np.searchsorted(bounds, positions, side="right") - 1
            by_bucket = np.argsort(bucket, kind="stable")
            found, starts = np.unique(bucket[by_bucket], return_index=True)
            for target, here in zip(found.tolist(), np.split(by_bucket, starts[1:]), strict=True):
                chosen = used[here]
                counts = offsets[chosen + 1] - offsets[chosen]
                lengths = block.lengths.lengths[ranges(offsets[chosen], counts)]
                ids = np.take(block.input_ids, chosen, axis=0, mode="clip")
                yield target, _BucketRows(number, positions[here], counts.astype(np.int32), lengths, ids)


@dataclass
class _Bucket:
    """A range of consecutive positions being filled. `place[s]` are the positions of source s in it, in order."""

    first: npt.NDArray[np.int64]
    place: dict[int, npt.NDArray[np.intp]]
    sources: npt.NDArray[np.int16]
    input_ids: npt.NDArray[Any]
    counts: npt.NDArray[np.int64]
    lengths: list[tuple[npt.NDArray[np.intp], npt.NDArray[np.int32]]] = field(
        default_factory=list[tuple[npt.NDArray[np.intp], npt.NDArray[np.int32]]]
    )

    @staticmethod
    def at(plan: MixturePlan, pool: Pool, first: int, last: int) -> _Bucket:
        sources = plan.order.turns(first, last)
        place = {number: here for number, here, _ in plan.order.places(first, sources)}
        ids = np.empty((last - first, pool.index.sequence_length), np.dtype(pool.index.dtype))
        return _Bucket(plan.order.at(first), place, sources, ids, np.zeros(last - first, np.int64))

    def put(self, rows: _BucketRows) -> None:
        here = self.place[rows.source][rows.positions - self.first[rows.source]]
        self.input_ids[here] = rows.input_ids
        self.counts[here] = rows.counts
        self.lengths.append((here, rows.lengths))

    def ordered(self) -> Ordered:
        """The rows, in order. Raises SpillError where one was not put."""
        if missing := np.count_nonzero(self.counts == 0):
            raise SpillError(f"{missing} of {len(self.counts)} rows of a bucket did not come")
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.counts)])
        lengths = np.empty(int(offsets[-1]), np.int32)
        for here, values in self.lengths:
            lengths[ranges(offsets[here], self.counts[here])] = values
        return Ordered(self.input_ids, DocumentLengths(offsets, lengths), self.sources)


def _append(file: Path, rows: _BucketRows) -> None:
    """Append rows to a bucket's file, opened each time: there may be more buckets than allowed open files."""
    arrays = [np.ascontiguousarray(each) for each in (rows.positions, rows.counts, rows.lengths, rows.input_ids)]
    header = np.array([rows.source, len(rows.positions), len(rows.lengths), _checksum(arrays)], np.uint64)
    with file.open("ab") as sink:
        for array in (header, *arrays):
            sink.write(array.data.cast("B"))


def _read(file: Path, pool: Pool) -> Iterator[_BucketRows]:
    length, dtype = pool.index.sequence_length, np.dtype(pool.index.dtype)
    if not file.exists():
        raise SpillError(f"{file} is gone")
    with file.open("rb") as source:
        while len(header := np.fromfile(source, np.uint64, 4)):
            if len(header) < 4:
                raise SpillError(f"{file} ends early")
            number, rows, lengths, checksum = header.tolist()
            kinds = ((np.int64, rows), (np.int32, rows), (np.int32, lengths), (dtype, rows * length))
            arrays = [np.fromfile(source, kind, count) for kind, count in kinds]
            positions, counts, documents, ids = arrays
            if [len(array) for array in arrays] != [count for _, count in kinds] or _checksum(arrays) != checksum:
                raise SpillError(f"{file} does not hold what was written to it")
            yield _BucketRows(number, positions, counts, documents, ids.reshape(rows, length))


def _checksum(arrays: list[npt.NDArray[Any]]) -> int:
    hasher = xxhash.xxh3_64()
    for array in arrays:
        hasher.update(array.data.cast("B"))
    return hasher.intdigest()
