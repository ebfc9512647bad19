"""The inputs of a version of a mixture: packed snapshots, and the version that it continues.

Guarantees that the rows used by a continued version are known: its snapshots stay pinned as they were, before later
ones. `plan` decides which rows are taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from llm_assets.contract.link import MissingInputError, State
from llm_assets.contract.shard_partition import open_shards
from llm_assets.stages.mix.held_out import held_out_count
from llm_assets.stages.mix.plan import Available, Consumed, MixturePlan, consumed_before, plan_mixture
from llm_assets.stages.mix.recipe import HeldOutParameters, MixParameters
from llm_assets.stages.mix.shares import MixtureError
from llm_assets.stages.mix.version.pool import ChangedInputError, Pool, packed_inputs, packed_name
from llm_assets.stages.mix.version.registry import PinnedRecipe, Versions
from llm_assets.stages.pack.link import PackedLink
from llm_assets.store.layout import Store
from llm_assets.store.manifest import Input, Manifest, partition_name
from llm_assets.store.shards.shard_set import ShardSet

Pins = Mapping[str, Sequence[tuple[str, Input]]]
"""Source → its packed snapshots in the order of their rows: `source/packed[snapshot]` and the pinned input."""


@dataclass(frozen=True)
class ContinuedVersion:
    """The version that a recipe continues, as it was made."""

    shards: ShardSet
    from_row: int

    @staticmethod
    def of(store: Store, parameters: MixParameters) -> ContinuedVersion | None:
        """The version that a recipe continues, or None. Raises MissingInputError where that version is not made."""
        if parameters.continued is None:
            return None
        mixture, version = parameters.continued
        shards = open_shards(store.version(mixture, version))
        if shards is None:
            names = Versions(store.mixture(mixture)).names()
            made = ", ".join(name for name in names if open_shards(store.version(mixture, name)))
            raise MissingInputError(
                f"continues: {parameters.continues} is not made: materialize it first "
                f"(made of {mixture}: {made or 'none'})"
            )
        from_row = parameters.from_row or 0
        if from_row > shards.rows:
            raise MissingInputError(
                f"from_row: {from_row} is beyond the {shards.rows} rows of {parameters.continues}: give the row up to "
                "which it was trained on"
            )
        return ContinuedVersion(shards, from_row)

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest of the version."""
        return Manifest.from_dict(self.shards.index.manifest)

    def check_kind(self, pool: Pool, parameters: MixParameters) -> None:
        """Raise MixtureError for rows of another length or tokenizer: which documents were used is then unknown."""
        before, now = self.shards.index, pool.index
        if (before.sequence_length, before.tokenizer) == (now.sequence_length, now.tokenizer):
            return
        raise MixtureError(
            f"continues: {parameters.continues} has rows of {before.sequence_length} tokens of tokenizer "
            f"{before.tokenizer[:12]}, but the sources here have rows of {now.sequence_length} tokens of "
            f"{now.tokenizer[:12]}, in which the used documents cannot be found. Take sources with the same tokenizer "
            "and sequence_length, or leave continues and from_row out"
        )

    @property
    def pins(self) -> Pins:
        """The packed snapshots of every source that this version, or one that it continues, has used."""
        return {
            source: [(name, Input(**pinned)) for name, pinned in pins]
            for source, pins in self.manifest.details["pins"].items()
        }

    def consumed(self) -> dict[str, Consumed]:
        """The use of every source before the row from which the version is continued."""
        return consumed_before(self.manifest.details["plan"], self.from_row)


def current_inputs(store: Store, sources: Sequence[PackedLink], parameters: MixParameters) -> dict[str, Input]:
    """The inputs that a version made now would pin. Raises MissingInputError."""
    continued = ContinuedVersion.of(store, parameters)
    before = continued.pins if continued else {}
    inputs: dict[str, Input] = {}
    for packed in sources:
        if packed.source not in parameters.source_names:
            continue
        pins = before.get(packed.source, ())
        if not pins and _not_there_yet(store, packed, parameters):
            continue
        inputs |= _pinned_before(store, packed, pins, parameters)
        for snapshot in _snapshots(store, packed, parameters):
            manifest = packed.committed(store, snapshot)
            if manifest is not None and manifest.name not in inputs:
                inputs[manifest.name] = manifest.as_input
    return inputs | ({continued.manifest.name: continued.manifest.as_input} if continued else {})


def _not_there_yet(store: Store, packed: PackedLink, parameters: MixParameters) -> bool:
    """True for a source with no snapshot and a share of 0 in every phase, which needs none."""
    return packed.source in parameters.without_share and not any(
        packed.committed(store, name) for name in store.order(packed.source).names()
    )


def _pinned_before(
    store: Store, packed: PackedLink, pins: Sequence[tuple[str, Input]], parameters: MixParameters
) -> dict[str, Input]:
    """The snapshots that the continued version used. Raises MissingInputError where one is gone or changed."""
    chosen = parameters.snapshots.get(packed.source)
    found: dict[str, Input] = {}
    for name, pinned in pins:
        _, _, snapshot = packed_name(name)
        manifest = packed.committed(store, snapshot)
        if manifest is None or manifest.digest != pinned.digest:
            change = "is gone" if manifest is None else "was made again with other rows"
            raise MissingInputError(
                f"continues: {name} {change} since {parameters.continues} was made, so that its used rows are unknown. "
                "Restore it, or leave the source out"
            )
        if chosen is not None and snapshot not in chosen:
            raise MissingInputError(f"snapshots.{packed.source}: {snapshot} is needed, {parameters.continues} used it")
        found[name] = manifest.as_input
    return found


def _snapshots(store: Store, packed: PackedLink, parameters: MixParameters) -> list[str]:
    """The snapshots of a source that the recipe names, or all that are up to date; in order of registration."""
    registered = store.order(packed.source).names()
    chosen = parameters.snapshots.get(packed.source)
    if chosen is None:
        current = [name for name in registered if packed.state(store, name) is State.CURRENT]
        if not current:
            raise MissingInputError(
                f"{packed.asset} has no snapshot that is up to date: land or materialize one first, or leave "
                f"{packed.source} out"
            )
        return current
    for snapshot in chosen:
        if packed.committed(store, snapshot) is None:
            name = partition_name(packed.asset, snapshot)
            there = ", ".join(each for each in registered if packed.committed(store, each) is not None)
            raise MissingInputError(
                f"snapshots.{packed.source}: {name} is not there: materialize it first (there are: {there or 'none'})"
            )
    return [name for name in registered if name in chosen]


@dataclass(frozen=True)
class PlannedMixture:
    """A recipe with its pool of rows, its plan, and the snapshots of all sources used before or now."""

    pool: Pool
    plan: MixturePlan
    pins: Pins

    @staticmethod
    def of(store: Store, recipe: PinnedRecipe) -> PlannedMixture:
        """Plan a recipe. Reads only indexes, and document lengths where tokens are held out.

        Raises MissingInputError, ChangedInputError, and MixtureError where the recipe cannot be followed.
        """
        parameters = MixParameters.model_validate(recipe.parameters)
        pool = Pool.open(store, recipe.inputs)
        continued = ContinuedVersion.of(store, parameters)
        if continued and recipe.inputs[continued.manifest.name].digest != continued.manifest.digest:
            raise ChangedInputError(
                f"{continued.manifest.name} has other rows than when this version was registered: make a new version"
            )
        if continued:
            continued.check_kind(pool, parameters)
        consumed = continued.consumed() if continued else {}
        plan = plan_mixture(_available(pool, parameters, consumed), parameters, consumed)
        pins: dict[str, list[tuple[str, Input]]] = {}
        for name, source, _ in packed_inputs(recipe.inputs):
            pins.setdefault(source, []).append((name, recipe.inputs[name]))
        return PlannedMixture(pool, plan, {**(continued.pins if continued else {}), **pins})


def _available(pool: Pool, parameters: MixParameters, consumed: Mapping[str, Consumed]) -> dict[str, Available]:
    """The size of each source. Rows held out by the continued version stay held out, and no others are."""
    tokens, available = pool.tokens_by_source, dict[str, Available]()
    for source, rows in pool.rows_by_source.items():
        before = consumed.get(source)
        first = before.stream.eras[0].rows if before else rows
        held_out = _held_out(pool, parameters.held_out, source, first)
        if before and parameters.held_out and held_out != before.stream.held_out:
            raise MixtureError(
                f"held_out: {held_out} rows of source {source!r}, but {parameters.continues} holds out "
                f"{before.stream.held_out} and may have trained on others: leave held_out as it is there, or out"
            )
        available[source] = Available(rows, tokens[source], held_out)
    return available


def _held_out(pool: Pool, held_out: HeldOutParameters | None, source: str, rows: int) -> int:
    """Number of rows held out of the first `rows` rows of a source."""
    if held_out is None:
        return 0

    def tokens_of(chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        offsets, lengths = pool.take(source, chosen)[1]
        return np.add.reduceat(lengths, offsets[:-1], dtype=np.int64)

    return held_out_count(source, rows, held_out.of(source), tokens_of)
