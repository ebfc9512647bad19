"""The link from all `packed` to `<mixture>/mixed`: the training set, one long array of rows in training order."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from llm_assets.contract.histograms import Histogram
from llm_assets.contract.link import (
    LEDGER_BALANCES,
    Arrivals,
    Check,
    Description,
    Link,
    MissingInputError,
    Outcome,
    Partitions,
    Shown,
    State,
    Work,
    balance_outcome,
)
from llm_assets.contract.progress import Progress, Say
from llm_assets.contract.samples import concatenated
from llm_assets.contract.shard_partition import (
    ROWS_PER_READ,
    StagedShards,
    all_lengths,
    begin_shards,
    open_shards,
    row_schema,
    shards_manifest,
    shown_rows,
    write_provenance,
)
from llm_assets.contract.stage import code_version
from llm_assets.errors import LlmAssetsError
from llm_assets.stages.mix import VERSION
from llm_assets.stages.mix.checks import (
    CHECKSUMS,
    HELD_OUT_APART,
    ROWS_AS_PACKED,
    SHARES_EXACT,
    checksum_outcome,
    provenance_outcomes,
)
from llm_assets.stages.mix.recipe import MixParameters
from llm_assets.stages.mix.report import mixture_tables
from llm_assets.stages.mix.version.inputs import PlannedMixture, current_inputs
from llm_assets.stages.mix.version.ledger import laps_offered, mixture_ledger, packed_rows
from llm_assets.stages.mix.version.pool import ChangedInputError
from llm_assets.stages.mix.version.provenance import MIX_PROVENANCE_SCHEMA, provenance
from llm_assets.stages.mix.version.registry import PinnedRecipe, Versions
from llm_assets.stages.mix.version.shuffle import Shuffle
from llm_assets.stages.mix.version.spill import spill_folder
from llm_assets.stages.mix.version.validation_set import validation_set_details, validation_set_of, write_validation_set
from llm_assets.stages.pack.link import PackedLink
from llm_assets.stages.tokenizer.link import TokenizerLink
from llm_assets.store.layout import Store
from llm_assets.store.manifest import Input, Manifest
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets.store.shards.writer import ShardSetWriter, StagedShardSet
from llm_assets.store.staging import Attempt

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ROWS_PER_WRITE = 8192
DESCRIBED_ROWS = 1 << 18
"""The most rows that a histogram counts, evenly spread over the version."""


class NoRoomError(LlmAssetsError, RuntimeError):
    """The disk or quota is too small for the version. The message says how much it needs."""


@dataclass(frozen=True, eq=False)
class MixtureVersions(Partitions):
    """The versions of a mixture: a new one is registered where the recipe or its inputs changed."""

    mixed: MixedLink

    @property
    @override
    def name(self) -> str:
        return f"{self.mixed.name}/versions"

    @override
    def keys(self, store: Store) -> list[str]:
        return self.mixed.versions(store).names()

    @override
    def register(self, store: Store) -> Arrivals:
        return Arrivals((self.mixed.versions(store).register(self.mixed.recipe(store)),))


@dataclass(frozen=True)
class MixedLink(Link[StagedShards]):
    """Makes the versions of one mixture. `continued` is the link of another mixture that it continues, if any."""

    name: str
    sources: tuple[PackedLink, ...]
    parameters: MixParameters
    continued: MixedLink | None = None

    kinds = frozenset({"numpy", "arrow"})
    summary = "The training set, rows in training order."
    for_training = True
    stage_name = "mixed"

    @property
    @override
    def upstream(self) -> Sequence[Link[Any]]:
        return self.sources if self.continued is None else (*self.sources, self.continued)

    @property
    @override
    def partitions(self) -> Partitions:
        return MixtureVersions(self)

    @override
    def uri(self, store: Store, partition: str) -> str:
        return store.version(self.name, partition).uri

    @override
    def open(self, store: Store, partition: str) -> ShardSet | None:
        return open_shards(store.version(self.name, partition))

    @override
    def show(self, store: Store, partition: str, *, lost: bool = False) -> Iterator[Shown]:
        return shown_rows(self, self.open(store, partition), partition, self.tokenizer.load(store))

    @property
    def tokenizer(self) -> TokenizerLink:
        """The tokenizer that all sources have."""
        return self.sources[0].tokenized.tokenizer

    @property
    @override
    def asset(self) -> str:
        return f"{self.name}/{self.stage_name}"

    @property
    @override
    def code_version(self) -> str:
        return code_version(VERSION, self.parameters)

    @property
    @override
    def checks(self) -> Sequence[Check]:
        return LEDGER_BALANCES, SHARES_EXACT, ROWS_AS_PACKED, HELD_OUT_APART, CHECKSUMS

    def versions(self, store: Store) -> Versions:
        """The registered versions."""
        return Versions(store.mixture(self.name))

    def recipe(self, store: Store) -> PinnedRecipe:
        """The recipe of a version made now, with `current_inputs` pinned.

        Raises MissingInputError.
        """
        inputs = current_inputs(store, self.sources, self.parameters)
        return PinnedRecipe(self.parameters.model_dump(mode="json"), self.code_version, inputs)

    def inputs(self, store: Store, partition: str) -> dict[str, Input]:
        """The inputs that the version pins."""
        return dict(self._registered(store, partition).inputs)

    def _registered(self, store: Store, version: str) -> PinnedRecipe:
        recipe = self.versions(store).recipe(version)
        if recipe is None:
            raise MissingInputError(
                f"{self.asset}[{version}] is not a registered version: the sensor or `llm-assets run` registers one"
            )
        return recipe

    @override
    def committed(self, store: Store, partition: str) -> Manifest | None:
        return shards_manifest(store.version(self.name, partition))

    def state(self, store: Store, partition: str) -> State:
        """A version is never stale: changes make another version."""
        if self.committed(store, partition) is not None:
            return State.CURRENT
        return State.MISSING if store.refusals.get(self.asset, partition) is None else State.REFUSED

    @override
    def make(self, work: Work) -> StagedShards:
        """Raises MixtureError where the sources do not suffice for the recipe, ChangedInputError, and NoRoomError."""
        recipe = self._registered(work.store, work.partition)
        parameters = MixParameters.model_validate(recipe.parameters)
        if recipe.code_version != (now := code_version(VERSION, parameters)):
            raise ChangedInputError(
                f"{self.asset}[{work.partition}] was registered for code version {recipe.code_version}, which is {now} "
                "now: make a new version"
            )
        planned = PlannedMixture.of(work.store, recipe)
        try:
            with begin_shards(work.store.version(self.name, work.partition)) as attempt:
                return self._make(work, recipe, planned, attempt)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            needed = planned.plan.total_rows * planned.pool.row_bytes
            where = self.uri(work.store, work.partition)
            raise NoRoomError(
                f"{self.asset}[{work.partition}] could not be written to {where} ({error.strerror}): "
                f"its rows need {needed:,} bytes. Make room there (or raise the quota), or shorten the mixture"
            ) from error

    def _make(self, work: Work, recipe: PinnedRecipe, planned: PlannedMixture, attempt: Attempt) -> StagedShards:
        shards = _write(attempt, planned, work.say)
        held_out = write_validation_set(attempt, planned.plan, planned.pool)
        write_provenance(attempt, MIX_PROVENANCE_SCHEMA, provenance(planned.plan, planned.pool))
        manifest = Manifest(
            self.asset,
            work.partition,
            attempt.generation,
            recipe.code_version,
            recipe.inputs,
            shards.digest,
            mixture_ledger(planned.plan, planned.pool, shards, held_out),
            _details(recipe, planned, held_out),
        )
        return StagedShards(shards, attempt, manifest)

    @override
    def check(self, staged: StagedShards, store: Store) -> Iterator[Outcome]:
        ledger, held_out = staged.manifest.ledger, validation_set_of(staged.shards)
        tokens = sum(int(lengths.lengths.sum()) for lengths in all_lengths(staged.shards))
        written = {"tokens": (tokens, ledger.output.tokens), "rows": (staged.shards.rows, ledger.output.rows)}
        expected = (staged.manifest.details["held_out"] or {"digest": None})["digest"]
        found = held_out.digest if held_out else None
        written["held-out sets"] = (int(found == expected), 1)
        yield balance_outcome(ledger, packed_rows(staged.manifest, store, held_out), written)
        yield from provenance_outcomes(staged, store)
        yield checksum_outcome(staged)

    @override
    def describe(self, staged: StagedShards, store: Store) -> Description:
        index, details = staged.shards.index, staged.manifest.details
        rows = {f"rows_{source}": count for source, count in index.rows_by_source.items()}
        tokens = {f"tokens_{source}": count for source, count in index.tokens_by_source.items()}
        phases = {f"rows_of_phase_{phase['name']}": phase["rows"] for phase in details["plan"]["phases"]}
        held_out = validation_set_of(staged.shards)
        values: dict[str, float | int | str | None] = {
            "tokens": index.tokens,
            "recipe": _recipe(details["parameters"]),
            "limited_by": ", ".join(details["limited_by"]) or "the length that was asked for",
            **rows,
            **tokens,
            **(phases if len(phases) > 1 else {}),
        }
        if held_out:
            values |= {"held_out_rows": held_out.rows, "held_out_tokens": held_out.index.tokens}
            values |= {"held_out_digest": held_out.digest, "held_out_uri": held_out.uri}
        return Description(
            rows=index.rows,
            bytes=staged.size,
            columns=row_schema(staged.shards),
            worked_bytes=staged.size,
            values=values,
            histograms={"Documents in a row": Histogram.of(_documents_per_row(staged.shards))},
            tables=mixture_tables(staged.shards, staged.manifest, held_out),
        )


def _recipe(parameters: Mapping[str, Any]) -> str:
    """The recipe as JSON, without fields that have their default."""
    return MixParameters.model_validate(parameters).model_dump_json(exclude_defaults=True)


def _details(recipe: PinnedRecipe, planned: PlannedMixture, held_out: ShardSet | None) -> Mapping[str, Any]:
    """The details of a version's manifest; a version that continues it reads `plan` and `pins`."""
    pins = {source: [[name, asdict(pinned)] for name, pinned in each] for source, each in planned.pins.items()}
    return {
        "parameters": recipe.parameters,
        "limited_by": list(planned.plan.limited_by),
        "plan": planned.plan.as_dict(),
        "pins": pins,
        "offered": laps_offered(planned.plan, planned.pool),
        "held_out": validation_set_details(held_out),
    }


def _write(attempt: Attempt, planned: PlannedMixture, say: Say) -> StagedShardSet:
    index = planned.pool.index
    with (
        ShardSetWriter(
            attempt.folder,
            attempt.generation,
            sequence_length=index.sequence_length,
            vocabulary_size=index.vocabulary_size,
            pad_id=index.pad_id,
            tokenizer=index.tokenizer,
            sources=planned.plan.names,
        ) as writer,
        spill_folder(attempt) as spill,
    ):
        shuffle = Shuffle(planned.plan, planned.pool, spill)
        progress = Progress(say, shuffle.buckets)
        for bucket in shuffle.rows():
            for first in range(0, len(bucket.sources), ROWS_PER_WRITE):
                part = slice(first, first + ROWS_PER_WRITE)
                offsets = bucket.lengths.offsets[first : first + ROWS_PER_WRITE + 1]
                lengths = bucket.lengths.lengths[offsets[0] : offsets[-1]]
                writer.append(bucket.input_ids[part], offsets - offsets[0], lengths, bucket.sources[part])
                progress.count(bucket.input_ids[part].nbytes)
            progress.end_part()
        return writer.finish()


def _documents_per_row(shards: ShardSet) -> npt.NDArray[np.int64]:
    """Number of documents in each of at most `DESCRIBED_ROWS` rows, evenly spread over the set."""
    step = max(1, -(-shards.rows // DESCRIBED_ROWS)) * ROWS_PER_READ
    found = [
        np.diff(shards.document_lengths(first, min(first + ROWS_PER_READ, shards.rows)).offsets)
        for first in range(0, shards.rows, step)
    ]
    return concatenated(found)
