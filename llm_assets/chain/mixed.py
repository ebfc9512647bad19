"""The link from all `packed` to `<mixture>/mixed`: the training set, one long array of rows in training order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from llm_assets.chain.histograms import Histogram
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
from llm_assets.chain.pool import ChangedInputError, Pool
from llm_assets.chain.samples import concatenated
from llm_assets.chain.shard_partition import (
    StagedShards,
    all_lengths,
    begin_shards,
    read_provenance,
    row_schema,
    shards_manifest,
    write_provenance,
)
from llm_assets.chain.versions import Recipe, Versions
from llm_assets.stages.mix.plan import MixParameters, MixturePlan, SourcePlan, plan_mixture
from llm_assets.stages.stage import code_version
from llm_assets.store.layout import Store
from llm_assets.store.ledger import Count, Ledger
from llm_assets.store.manifest import Input, Manifest, split_name
from llm_assets.store.shard_writer import ShardSetWriter, StagedShardSet
from llm_assets.store.shards import ShardSetError
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
            inputs |= {manifest.name: manifest.as_input for manifest in manifests}
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
        if self.committed(store, partition) is not None:
            return State.CURRENT
        return State.MISSING if store.refusals.get(self.asset, partition) is None else State.REFUSED

    def make(self, work: Work) -> StagedShards:
        """See `Link`."""
        recipe = self._registered(work.store, work.partition)
        parameters = MixParameters.model_validate(recipe.parameters)
        if recipe.code_version != (now := code_version(VERSION, parameters)):
            raise ChangedInputError(
                f"{self.asset}[{work.partition}] was registered for the code {recipe.code_version}, which is {now} "
                "now: make a new version"
            )
        pool = Pool.open(work.store, recipe)
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
                {
                    "parameters": parameters.model_dump(mode="json"),
                    "limited_by": list(plan.limited_by),
                    "offered": {source.name: _offered(source) for source in plan.sources},
                },
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
        yield balance_outcome(ledger, _packed_rows(staged.manifest, store), written)
        yield _shares_exact(staged)
        yield _checksums(staged)

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
            histograms={"Documents in a row": Histogram.of(concatenated(documents_per_row))},
        )


def _names(plan: MixturePlan) -> list[str]:
    return [source.name for source in plan.sources]


def _chunks(plan: MixturePlan) -> Iterator[tuple[int, npt.NDArray[np.int16], npt.NDArray[np.int64]]]:
    for first in range(0, plan.total_rows, ROWS_PER_WRITE):
        source, row = plan.order(first, min(first + ROWS_PER_WRITE, plan.total_rows))
        yield first, source, row


def _write(attempt: Attempt, plan: MixturePlan, pool: Pool) -> StagedShardSet:
    index = pool.index
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
            ids, lengths = pool.take(_names(plan), source, row)
            writer.append(ids, lengths.offsets, lengths.lengths, source)
        return writer.finish()


def _provenance(plan: MixturePlan, pool: Pool) -> Iterator[pa.RecordBatch]:
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


def _ledger(plan: MixturePlan, pool: Pool, shards: StagedShardSet) -> Ledger:
    """In rows: each source is offered as often as it is used, at least once; what is not taken is over its share."""
    row_bytes = shards.sequence_length * shards.dtype.itemsize
    uses = _uses(plan)
    incoming, dropped = Count(), dict[str, Count]()
    for source in plan.sources:
        offered = _offered(source)
        tokens = pool.tokens_of_rows(source.name)
        unused = offered - uses[source.name]
        left = Count(int(unused.sum()), int(unused.sum()) * row_bytes, int((tokens * unused).sum()))
        rows = offered * source.available
        incoming += Count(rows, rows * row_bytes, offered * int(tokens.sum()))
        if left.documents:
            dropped[f"{OVER_SHARE}:{source.name}"] = left
    kept = Count(shards.rows, shards.rows * row_bytes, shards.index.tokens)
    return Ledger(incoming=incoming, kept=kept, output=kept, dropped=dropped)


def _offered(source: SourcePlan) -> int:
    """How often a source's rows are offered: as often as the mixture goes over them, and at least once."""
    return max(1, -(-source.taken // source.available)) if source.available else 0


def _packed_rows(manifest: Manifest, store: Store) -> Count:
    """What the packed snapshots put out, by their own ledgers, as often as each was offered."""
    total = Count()
    for name in manifest.inputs:
        asset, snapshot = split_name(name)
        source = asset.split("/")[0]
        packed = shards_manifest(store.packed(source, snapshot))
        if packed is None:
            raise MissingInputError(f"{name} is not there any more")
        total += packed.ledger.output * manifest.details["offered"][source]
    return total


def _uses(plan: MixturePlan) -> Mapping[str, npt.NDArray[np.int64]]:
    """How often each row of each source is in the mixture."""
    uses = [np.zeros(source.available, np.int64) for source in plan.sources]
    for _, source, row in _chunks(plan):
        for number, counts in enumerate(uses):
            counts += np.bincount(row[source == number], minlength=len(counts))
    return dict(zip(_names(plan), uses, strict=True))


def _checksums(staged: StagedShards) -> Outcome:
    try:
        staged.shards.verify()
    except ShardSetError as error:
        return Outcome(CHECKSUMS.name, False, str(error))
    return Outcome(CHECKSUMS.name, True, f"{len(staged.shards.shards())} shards read back as they were written")


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
