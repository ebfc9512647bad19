"""The checks of a version of a mixture, computed from its written rows and their provenance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from llm_assets.contract.link import Check, Outcome
from llm_assets.contract.shard_partition import StagedShards
from llm_assets.stages.mix.version.pool import Pool
from llm_assets.stages.mix.version.provenance import read_origins
from llm_assets.stages.mix.version.validation_set import validation_set_of
from llm_assets.store.layout import Store
from llm_assets.store.shards.shard_set import ShardCorruptError, ShardSet, ShardSetError

SHARES_EXACT = Check(
    "shares_exact",
    "At every position of a phase, each source has given its share of the rows of the phase so far, within one row.",
)
ROWS_AS_PACKED = Check(
    "rows_as_packed", "Sampled rows equal the packed rows that their provenance names: all tokens, all documents."
)
HELD_OUT_APART = Check("held_out_apart", "No held-out row is among the rows to train on, or held out twice.")
CHECKSUMS = Check("checksums", "Every block of every shard reads back as it was written.")

SAMPLED_ROWS = 256
_EXACT = 2**62


def provenance_outcomes(staged: StagedShards, store: Store) -> Iterator[Outcome]:
    """The outcomes of `SHARES_EXACT`, `ROWS_AS_PACKED` and `HELD_OUT_APART`, in one pass over the records."""
    plan = staged.manifest.details["plan"]
    shares = _Shares.of(plan)
    pool, held_out = Pool.open(store, staged.manifest.inputs), validation_set_of(staged.shards)
    apart = _Apart(_held_out_rows(held_out))
    sample = _Sample(staged.shards, pool)
    for batch in read_origins(staged.shards):
        shares.add(batch)
        apart.add(batch)
        sample.add(batch)
    samples = [sample]
    if held_out:
        samples.append(_Sample(held_out, pool))
        for batch in read_origins(held_out):
            samples[-1].add(batch)
    message = f"no source is ever further than {shares.worst:.3f} rows from its share"
    yield Outcome(SHARES_EXACT.name, shares.kept, message, {"worst": shares.worst})
    yield _sampled(samples)
    message = f"{apart.found} rows to train on are held out, {apart.twice} of {apart.rows} are held out twice"
    yield Outcome(HELD_OUT_APART.name, not apart.found and not apart.twice, message, {"found": apart.found})


def checksum_outcome(staged: StagedShards) -> Outcome:
    """The outcome of `CHECKSUMS`, for the rows to train on and those held out."""
    sets = [staged.shards, validation_set_of(staged.shards)]
    try:
        shards = 0
        for each in sets:
            if each is not None:
                each.verify()
                shards += len(each.shards())
    except ShardSetError as error:
        return Outcome(CHECKSUMS.name, False, str(error))
    return Outcome(CHECKSUMS.name, True, f"{shards} shards read back as they were written")


def _codes(column: pa.DictionaryArray, numbers: Mapping[str, int]) -> npt.NDArray[np.int64]:
    """Numbers of the names in a column; -1 for others."""
    names = np.array([numbers.get(name, -1) for name in column.dictionary.to_pylist()], np.int64)
    return names[column.indices.to_numpy(zero_copy_only=False)] if len(names) else np.empty(0, np.int64)


@dataclass
class _Shares:
    """The greatest distance of any source from its share, over all positions of each phase."""

    numbers: Mapping[str, int]
    ends: list[int]
    weights: list[list[int]]
    position: int = 0
    counts: dict[int, int] = field(default_factory=dict[int, int])
    worst: float = 0.0
    kept: bool = True

    @staticmethod
    def of(plan: Mapping[str, Any]) -> _Shares:
        phases = plan["phases"]
        ends = np.cumsum([phase["rows"] for phase in phases]).tolist()
        numbers = {name: number for number, name in enumerate(plan["streams"])}
        return _Shares(numbers, ends, [phase["weights"] for phase in phases])

    def add(self, batch: pa.RecordBatch) -> None:
        sources = _codes(batch["source"], self.numbers)
        while len(sources):
            phase = int(np.searchsorted(self.ends, self.position, side="right"))
            if phase == len(self.ends):
                self.worst, self.kept = float("inf"), False  # more rows than all phases have
                return
            part = sources[: self.ends[phase] - self.position]
            self._add(phase, part)
            self.position += len(part)
            sources = sources[len(part) :]
            if self.position == self.ends[phase]:
                self.counts = {}

    def _add(self, phase: int, sources: npt.NDArray[np.int64]) -> None:
        begun = self.position - (self.ends[phase - 1] if phase else 0)
        positions = np.arange(begun + 1, begun + 1 + len(sources))
        period = sum(self.weights[phase])
        for number, weight in enumerate(self.weights[phase]):
            given = self.counts.get(number, 0) + np.cumsum(sources == number)
            self.counts[number] = int(given[-1])
            if int(positions[-1]) * period < _EXACT:
                exactly = int(np.abs(given * period - positions * weight).max())
                # as whole numbers: a distance just below 1 may be 1.0 as a float
                distance, kept = exactly / period, exactly < period
            else:  # beyond 64 bits: to within a millionth
                distance = float(np.abs(given - positions * (weight / period)).max()) - 1e-6
                kept = distance < 1
            self.worst, self.kept = max(self.worst, distance), self.kept and kept


RowsBySet = dict[tuple[str, str], npt.NDArray[np.int64]]
"""(source, snapshot) → rows of the packed set, int64 [n]."""


def _by_set(batch: pa.RecordBatch) -> Iterator[tuple[tuple[str, str], npt.NDArray[np.intp]]]:
    """The packed sets that occur in a batch of provenance, each with its places in the batch."""
    sources, snapshots = batch["source"], batch["snapshot"]
    source, snapshot = (each.indices.to_numpy(zero_copy_only=False) for each in (sources, snapshots))
    for code in np.unique(source.astype(np.int64) * len(snapshots.dictionary) + snapshot).tolist():
        s, t = divmod(code, len(snapshots.dictionary))
        name = sources.dictionary[s].as_py(), snapshots.dictionary[t].as_py()
        yield name, np.flatnonzero((source == s) & (snapshot == t))


def _held_out_rows(held_out: ShardSet | None) -> RowsBySet:
    rows: RowsBySet = {}
    for batch in read_origins(held_out) if held_out else ():
        packed_row = batch["packed_row"].to_numpy()
        for name, here in _by_set(batch):
            rows[name] = np.concatenate([rows.get(name, np.empty(0, np.int64)), packed_row[here]])
    return rows


@dataclass
class _Apart:
    """Counts training rows that are held out too."""

    held_out: RowsBySet
    found: int = 0

    @property
    def rows(self) -> int:
        return sum(map(len, self.held_out.values()))

    @property
    def twice(self) -> int:
        return sum(len(rows) - len(np.unique(rows)) for rows in self.held_out.values())

    def add(self, batch: pa.RecordBatch) -> None:
        if not self.held_out:
            return
        packed_row = batch["packed_row"].to_numpy()
        for name, here in _by_set(batch):
            if name in self.held_out:
                self.found += int(np.isin(packed_row[here], self.held_out[name]).sum())


class _Sample:
    """Rows, evenly spread, compared with the packed rows that their provenance names."""

    def __init__(self, shards: ShardSet, pool: Pool) -> None:
        self.shards = shards
        self._packed = {(packed.source, packed.snapshot): packed.shards for packed in pool.sets}
        self.wanted = np.unique(np.linspace(0, shards.rows - 1, min(SAMPLED_ROWS, shards.rows)).astype(np.int64))
        self.records = 0
        self.misplaced = 0
        self.differing = 0

    def add(self, batch: pa.RecordBatch) -> None:
        rows = np.arange(self.records, self.records + batch.num_rows)
        self.records += batch.num_rows
        self.misplaced += int(np.count_nonzero(batch["row"].to_numpy() != rows))
        chosen = batch.filter(pa.array(np.isin(rows, self.wanted)))
        columns = [chosen[name].to_pylist() for name in ("row", "source", "snapshot", "packed_row")]
        for row, source, snapshot, packed_row in zip(*columns, strict=True):
            packed = self._packed.get((source, snapshot))
            there = _row(packed, packed_row) if packed and 0 <= packed_row < packed.rows else None
            here = _row(self.shards, row)
            self.differing += here is None or here != there


def _sampled(samples: Sequence[_Sample]) -> Outcome:
    """The outcome of `ROWS_AS_PACKED`, for training rows and held-out rows."""
    records, rows = sum(each.records for each in samples), sum(each.shards.rows for each in samples)
    misplaced, differing = sum(each.misplaced for each in samples), sum(each.differing for each in samples)
    places = f"{records} records of {rows} rows, {misplaced} of them of another row"
    wanted = sum(len(each.wanted) for each in samples)
    sampled = f"{differing} of {wanted} sampled rows are not the packed rows they are said to be"
    passed = all(each.records == each.shards.rows for each in samples) and not misplaced and not differing
    details = {"differing": differing, "misplaced": misplaced}
    return Outcome(ROWS_AS_PACKED.name, passed, f"{places}; {sampled}", details)


def _row(shards: ShardSet, row: int) -> tuple[bytes, list[int]] | None:
    """Token ids and document lengths of a row; None where it is damaged, which equals no packed row."""
    try:
        lengths = shards.document_lengths(row, row + 1).lengths.tolist()
        return shards.input_ids(row, row + 1).tobytes(), lengths
    except ShardCorruptError:
        return None
