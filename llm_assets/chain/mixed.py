"""The link from all `packed` to `<mixture>/mixed`: the training set, one long array of rows in training order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from llm_assets.chain.link import (
    LEDGER_BALANCES,
    Check,
    Description,
    Link,
    MissingInputError,
    Outcome,
    State,
    Work,
    balance_outcome,
)
from llm_assets.chain.packed import PackedLink
from llm_assets.chain.samples import concatenated
from llm_assets.chain.shard_partition import (
    StagedShards,
    all_lengths,
    begin_shards,
    open_shards,
    read_provenance,
    row_schema,
    shards_manifest,
    write_provenance,
)
from llm_assets.chain.versions import Recipe, Versions
from llm_assets.stages.mix.plan import MixParameters, MixturePlan, plan_mixture
from llm_assets.stages.stage import code_version
from llm_assets.store.layout import Store
from llm_assets.store.ledger import Count, Ledger
from llm_assets.store.manifest import Input, Manifest
from llm_assets.store.shard_writer import ShardSetWriter, StagedShardSet
from llm_assets.store.shards import DocumentLengths, ShardSet
from llm_assets.store.staging import Attempt

VERSION = "1"
ROWS_PER_WRITE = 8192
OVER_SHARE = "over_share"

SHARES_EXACT = Check(
    "shares_exact", "At every position, each source has given its share of the rows so far, within one row."
)
CHECKSUMS = Check("checksums", "Every block of every shard reads back as it was written.")

MIX_PROVENANCE_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64()),
        pa.field("source", pa.large_string()),
        pa.field("snapshot", pa.large_string()),
        pa.field("packed_row", pa.int64()),
    ]
)
"""Row of the mixture; the source, snapshot and row of the packed set that it is a copy of."""


class ChangedInputError(RuntimeError):
    """A pinned input is no longer what the version was registered with."""


@dataclass(frozen=True)
class MixedLink(Link[StagedShards]):
    """Makes the versions of one mixture."""

    name: str
    sources: tuple[PackedLink, ...]
    parameters: MixParameters

    @property
    def asset(self) -> str:
        """See `Link`."""
        return f"{self.name}/mixed"

    @property
    def code_version(self) -> str:
        """See `Link`."""
        return code_version(VERSION, self.parameters)

    @property
    def checks(self) -> Sequence[Check]:
        """See `Link`."""
        return LEDGER_BALANCES, SHARES_EXACT, CHECKSUMS

    def versions(self, store: Store) -> Versions:
        """The registered versions."""
        return Versions(store.mixture(self.name))

    def recipe(self, store: Store) -> Recipe:
        """What a version made now would be: the packed snapshots that are up to date. Raises MissingInputError."""
        inputs: dict[str, Input] = {}
        for packed in self.sources:
            current = [
                name for name in store.order(packed.source).names() if packed.state(store, name) is State.CURRENT
            ]
            manifests = [manifest for name in current if (manifest := packed.committed(store, name))]
            if not manifests:
                raise MissingInputError(f"{packed.asset} has no snapshot that is up to date: materialize one first")
            inputs |= {f"{m.asset}[{m.partition}]": Input(m.digest, m.generation) for m in manifests}
        return Recipe(self.parameters.model_dump(mode="json"), self.code_version, inputs)

    def inputs(self, store: Store, partition: str) -> dict[str, Input]:
        """The inputs that the version pins."""
        return dict(self._registered(store, partition).inputs)

    def _registered(self, store: Store, version: str) -> Recipe:
        recipe = self.versions(store).recipe(version)
        if recipe is None:
            raise MissingInputError(
                f"{self.asset}[{version}] is not a registered version: the sensor or `llm-assets run` registers one"
            )
        return recipe

    def committed(self, store: Store, partition: str) -> Manifest | None:
        """See `Link`."""
        return shards_manifest(store.version(self.name, partition))

    def state(self, store: Store, partition: str) -> State:
        """A version is never stale: what is new becomes another version."""
        return State.MISSING if self.committed(store, partition) is None else State.CURRENT

    def make(self, work: Work) -> StagedShards:
        """See `Link`."""
        recipe = self._registered(work.store, work.partition)
        parameters = MixParameters.model_validate(recipe.parameters)
        pool = _Pool.open(work.store, recipe)
        plan = plan_mixture(pool.rows_by_source, parameters)
        attempt = begin_shards(work.store.version(self.name, work.partition))
        try:
            shards = _write(attempt, plan, pool)
            write_provenance(attempt, MIX_PROVENANCE_SCHEMA, _provenance(plan, pool))
            manifest = Manifest(
                self.asset,
                work.partition,
                attempt.generation,
                recipe.code_version,
                recipe.inputs,
                shards.digest,
                _ledger(plan, pool, shards),
                {"parameters": parameters.model_dump(mode="json"), "limited_by": list(plan.limited_by)},
            )
            return StagedShards(shards, attempt, manifest)
        except BaseException:
            attempt.discard()
            raise

    def check(self, staged: StagedShards, store: Store) -> Iterator[Outcome]:
        """See `Link`."""
        ledger = staged.manifest.ledger
        tokens = sum(int(lengths.lengths.sum()) for lengths in all_lengths(staged.shards))
        written = {"tokens": (tokens, ledger.output.tokens), "rows": (staged.shards.rows, ledger.output.documents)}
        yield balance_outcome(ledger, None, written)
        yield _shares_exact(staged)
        staged.shards.verify()
        yield Outcome(CHECKSUMS.name, True, f"{len(staged.shards.shards())} shards read back as they were written")

    def describe(self, staged: StagedShards) -> Description:
        """See `Link`."""
        index = staged.shards.index
        documents_per_row = [np.diff(lengths.offsets) for lengths in all_lengths(staged.shards)]
        rows = {f"rows_{source}": count for source, count in index.rows_by_source.items()}
        tokens = {f"tokens_{source}": count for source, count in index.tokens_by_source.items()}
        limited_by = ", ".join(staged.manifest.details["limited_by"])
        return Description(
            rows=index.rows,
            bytes=staged.size,
            columns=row_schema(staged.shards),
            values={"tokens": index.tokens, "limited_by": limited_by, **rows, **tokens},
            histograms={"Documents in a row": concatenated(documents_per_row)},
        )


@dataclass(frozen=True)
class _PackedSet:
    """One packed snapshot in a pool: its rows are `first` to `first + shards.rows` of its source."""

    source: str
    snapshot: str
    first: int
    shards: ShardSet


@dataclass(frozen=True)
class _Pool:
    """The rows that a version draws from: the pinned snapshots of each source, end to end."""

    sets: tuple[_PackedSet, ...]

    @staticmethod
    def open(store: Store, recipe: Recipe) -> _Pool:
        """Raises MissingInputError, ChangedInputError, and ValueError where rows do not go together."""
        sets: list[_PackedSet] = []
        first: dict[str, int] = {}
        for key, pinned in recipe.inputs.items():
            source, snapshot = _source_and_snapshot(key)
            shards = open_shards(store.packed(source, snapshot))
            if shards is None:
                raise MissingInputError(f"{key} is not there: materialize it first")
            if shards.digest != pinned.digest:
                raise ChangedInputError(
                    f"{key} was made again with other rows since this version was registered: make a new version"
                )
            sets.append(_PackedSet(source, snapshot, first.get(source, 0), shards))
            first[source] = first.get(source, 0) + shards.rows
        kinds = {(s.shards.sequence_length, s.shards.index.tokenizer) for s in sets}
        if len(kinds) != 1:
            raise ValueError("the sources have rows of several lengths or tokenizers: " + ", ".join(recipe.inputs))
        return _Pool(tuple(sets))

    @property
    def rows_by_source(self) -> dict[str, int]:
        rows: dict[str, int] = {}
        for packed in self.sets:
            rows[packed.source] = rows.get(packed.source, 0) + packed.shards.rows
        return rows

    def tokens_of_rows(self, source: str) -> npt.NDArray[np.int64]:
        """Tokens in each row of a source, int64 [rows]."""
        tokens = [
            np.add.reduceat(lengths.lengths, lengths.offsets[:-1], dtype=np.int64)
            for packed in self.sets
            if packed.source == source
            for lengths in all_lengths(packed.shards)
        ]
        return concatenated(tokens)

    def locate(
        self, source_names: Sequence[str], source: npt.NDArray[Any], row: npt.NDArray[np.int64]
    ) -> Iterator[tuple[_PackedSet, npt.NDArray[np.intp], npt.NDArray[np.int64]]]:
        """For every packed set: which of the given rows it has, and their row numbers in it."""
        for packed in self.sets:
            mine = source == source_names.index(packed.source)
            here = np.flatnonzero(mine & (row >= packed.first) & (row < packed.first + packed.shards.rows))
            if len(here):
                yield packed, here, row[here] - packed.first


def _source_and_snapshot(key: str) -> tuple[str, str]:
    """`docs/packed[2026-01]` → `docs`, `2026-01`."""
    asset, _, partition = key.removesuffix("]").partition("[")
    return asset.split("/")[0], partition


def _names(plan: MixturePlan) -> list[str]:
    return [source.name for source in plan.sources]


def _chunks(plan: MixturePlan) -> Iterator[tuple[int, npt.NDArray[np.int16], npt.NDArray[np.int64]]]:
    for first in range(0, plan.total_rows, ROWS_PER_WRITE):
        source, row = plan.order(first, min(first + ROWS_PER_WRITE, plan.total_rows))
        yield first, source, row


def _write(attempt: Attempt, plan: MixturePlan, pool: _Pool) -> StagedShardSet:
    index = pool.sets[0].shards.index
    with ShardSetWriter(
        attempt.folder,
        attempt.generation,
        sequence_length=index.sequence_length,
        vocabulary_size=index.vocabulary_size,
        pad_id=index.pad_id,
        tokenizer=index.tokenizer,
        sources=_names(plan),
    ) as writer:
        for _, source, row in _chunks(plan):
            ids, lengths = _gather(pool, _names(plan), source, row)
            writer.append(ids, lengths.offsets, lengths.lengths, source)
        return writer.finish()


def _gather(
    pool: _Pool, names: Sequence[str], source: npt.NDArray[np.int16], row: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[Any], DocumentLengths]:
    """The given rows, copied from the packed sets they lie in."""
    shards = pool.sets[0].shards
    ids = np.empty((len(row), shards.sequence_length), shards.dtype)
    by_row: list[npt.NDArray[np.int32]] = [np.empty(0, np.int32)] * len(row)
    for packed, here, rows in pool.locate(names, source, row):
        taken, lengths = packed.shards.take(rows)
        ids[here] = taken
        for place, part in zip(here.tolist(), np.split(lengths.lengths, lengths.offsets[1:-1]), strict=True):
            by_row[place] = part
    offsets = np.concatenate(([0], np.cumsum([len(part) for part in by_row])))
    return ids, DocumentLengths(offsets, np.concatenate(by_row))


def _provenance(plan: MixturePlan, pool: _Pool) -> Iterator[pa.RecordBatch]:
    names = _names(plan)
    for first, source, row in _chunks(plan):
        snapshot = np.empty(len(row), object)
        packed_row = np.empty(len(row), np.int64)
        for packed, here, rows in pool.locate(names, source, row):
            snapshot[here] = packed.snapshot
            packed_row[here] = rows
        columns = [
            pa.array(np.arange(first, first + len(row))),
            pa.array(np.array(names, object)[source], pa.large_string()),
            pa.array(snapshot, pa.large_string()),
            pa.array(packed_row),
        ]
        yield pa.record_batch(columns, schema=MIX_PROVENANCE_SCHEMA)


def _ledger(plan: MixturePlan, pool: _Pool, shards: StagedShardSet) -> Ledger:
    """In rows: each source is offered as often as it is used, at least once; what is not taken is over its share."""
    row_bytes = shards.sequence_length * shards.dtype.itemsize
    uses = _uses(plan)
    incoming, dropped = Count(), dict[str, Count]()
    for source in plan.sources:
        offered = max(1, -(-source.taken // source.available)) if source.available else 0
        tokens = pool.tokens_of_rows(source.name)
        unused = offered - uses[source.name]
        left = Count(int(unused.sum()), int(unused.sum()) * row_bytes, int((tokens * unused).sum()))
        rows = offered * source.available
        incoming += Count(rows, rows * row_bytes, offered * int(tokens.sum()))
        if left.documents:
            dropped[f"{OVER_SHARE}:{source.name}"] = left
    kept = Count(shards.rows, shards.rows * row_bytes, shards.index.tokens)
    return Ledger(incoming=incoming, kept=kept, output=kept, dropped=dropped)


def _uses(plan: MixturePlan) -> Mapping[str, npt.NDArray[np.int64]]:
    """How often each row of each source is in the mixture."""
    uses = [np.zeros(source.available, np.int64) for source in plan.sources]
    for _, source, row in _chunks(plan):
        for number, counts in enumerate(uses):
            counts += np.bincount(row[source == number], minlength=len(counts))
    return dict(zip(_names(plan), uses, strict=True))


def _shares_exact(staged: StagedShards) -> Outcome:
    """Recount, from what was written, how far any source ever is from its share."""
    parameters = MixParameters.model_validate(staged.manifest.details["parameters"])
    source = read_provenance(staged.shards, ["source"])["source"].combine_chunks()
    names = np.asarray(source.dictionary_encode().dictionary.to_pylist(), object)
    codes = source.dictionary_encode().indices.to_numpy()
    positions = np.arange(1, len(codes) + 1)
    worst = 0.0
    for name, share in parameters.exact_shares.items():
        found = np.flatnonzero(names == name)
        given = np.cumsum(codes == found[0]) if len(found) else np.zeros(len(codes), np.int64)
        distance = np.abs(given * share.denominator - positions * share.numerator)
        worst = max(worst, float(distance.max() / share.denominator) if len(distance) else 0.0)
    message = f"no source is ever further than {worst:.3f} rows from its share"
    return Outcome(SHARES_EXACT.name, worst < 1.0, message, {"worst": worst})
