"""Plans a mixture: the rows taken from each source, and the order of all rows.

Guarantees exact shares: of the first t rows of a phase, a source with share p has p·t rows, less than one row off, for
every t; and no source is repeated more often than allowed. A source with too few rows is an error, never a silent
change of the shares. Reads and writes no row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_assets.stages.mix.lengths import Demand, LengthFinder, ShareError, Supply
from llm_assets.stages.mix.recipe import MixParameters
from llm_assets.stages.mix.shares import MixtureError, shares_of
from llm_assets.stages.mix.source_stream import SourceStream
from llm_assets.stages.mix.training_order import PhasePlan, TrainingOrder

__all__ = ["Available", "Consumed", "MixParameters", "MixtureError", "MixturePlan", "ShareError", "plan_mixture"]


@dataclass(frozen=True)
class Available:
    """The size of a source: rows, their tokens, and the number of rows held out."""

    rows: int
    tokens: int
    held_out: int = 0


@dataclass(frozen=True)
class Consumed:
    """The use of a source by earlier versions: its stream, up to `position`."""

    stream: SourceStream
    position: int


@dataclass(frozen=True)
class SourcePlan(Supply):
    """A supply, and the `taken` rows of it, with repetitions, from `begin` on."""

    taken: int

    @property
    def end(self) -> int:
        """Position of the stream where the mixture ends."""
        return self.begin + self.taken

    @property
    def repetitions(self) -> float:
        """Uses of each row of the source on average; 0 where it has no rows."""
        return self.taken / self.available if self.available else 0.0


@dataclass(frozen=True, eq=False)
class MixturePlan:
    """The plan of a mixture: the rows taken from each source, and the row at each position.

    Attributes:
        sources: in order of names; their index is the `source` in `order`.
        order: of the rows, with its phases.
        limited_by: names of the sources without which it could be longer; none where a length was given.
        seed: of the order within the sources.
        idle: sources of earlier versions that are not in this one, and how far they were used.
    """

    sources: tuple[SourcePlan, ...]
    order: TrainingOrder
    limited_by: tuple[str, ...]
    seed: int
    idle: Mapping[str, Consumed] = field(default_factory=dict[str, Consumed])

    @property
    def phases(self) -> tuple[PhasePlan, ...]:
        """Consecutive ranges; one, where the recipe has none."""
        return self.order.phases

    @property
    def total_rows(self) -> int:
        """Rows of the mixture."""
        return self.order.total_rows

    @property
    def names(self) -> list[str]:
        """Names of the sources."""
        return [source.name for source in self.sources]

    def rows_at(self, first: int, last: int) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
        """The rows at the positions `first` to `last` (exclusive).

        Returns the index of the source in `sources`, int16 [last - first], and the row of that source,
        int64 [last - first]; the result does not depend on how a range is divided. Costs at most the time of 2**16
        positions more than asked for, anywhere. Raises IndexError for positions outside the mixture.
        """
        return self.order.rows_at(first, last)

    def counts(self, position: int) -> dict[str, int]:
        """Rows of each source before a position: its share of the rows of each phase so far, rounded up or down.

        Raises IndexError for a position outside the mixture.
        """
        return dict(zip(self.names, (self.order.at(position) - self.order.begin).tolist(), strict=True))

    def consumed(self, position: int) -> dict[str, Consumed]:
        """The use of each source before a position, by this mixture and those that it continues.

        Raises IndexError for a position outside the mixture.
        """
        at = self.order.at(position).tolist()
        used = {stream.name: Consumed(stream, at[number]) for number, stream in enumerate(self.order.streams)}
        return {**self.idle, **used}

    def as_dict(self) -> dict[str, Any]:
        """A JSON form of everything that the order depends on; `consumed_before` reads it."""
        idle = {name: {**each.stream.as_dict(), "position": each.position} for name, each in self.idle.items()}
        return {"seed": self.seed, **self.order.as_dict(), "idle": idle}


def consumed_before(plan: Mapping[str, Any], position: int) -> dict[str, Consumed]:
    """`MixturePlan.consumed`, from the plan's JSON form. Raises IndexError."""
    seed = plan["seed"]
    idle = {
        name: Consumed(SourceStream.from_dict(name, seed, each), each["position"])
        for name, each in plan["idle"].items()
    }
    rows = TrainingOrder.from_dict(seed, plan)
    at = rows.at(position).tolist()
    return {**idle, **{stream.name: Consumed(stream, at[n]) for n, stream in enumerate(rows.streams)}}


def plan_mixture(
    available: Mapping[str, Available], parameters: MixParameters, consumed: Mapping[str, Consumed] | None = None
) -> MixturePlan:
    """Plan the mixture of a recipe. Sources that the recipe does not name are ignored.

    `consumed` is the use of sources by the version that the recipe continues: their streams go on, and `held_out` of
    `available` is ignored for them. Walks once over the schedule of each phase, up to its period or its end (see
    `SourceSchedule`).

    Raises:
        ShareError: a source has too few rows for its share within its `max_repetitions`, or none that may be used.
        MixtureError: the recipe cannot be followed for another reason.
        ValueError: a negative number of rows.
    """
    consumed = consumed or {}
    seed = _seed(parameters, consumed)
    supplies = [
        _supply(name, seed, available.get(name, Available(0, 0)), parameters, consumed.get(name))
        for name in parameters.source_names
    ]
    sizes = {supply.name: supply.available for supply in supplies}
    demands: list[Demand] = []
    for phase, shares in zip(parameters.lengths, parameters.phase_shares, strict=True):
        found = shares_of(shares, sizes)
        demands.append(Demand(phase, tuple(found.get(supply.name, Fraction(0)) for supply in supplies)))
    lengths = LengthFinder(parameters, supplies, demands).find()
    order = TrainingOrder.make(
        [supply.stream for supply in supplies],
        [supply.begin for supply in supplies],
        [(demand.phase.name, rows, demand.shares) for demand, rows in zip(demands, lengths.rows, strict=True)],
    )
    taken = (order.at(order.total_rows) - order.begin).tolist()
    sources = tuple(
        SourcePlan(supply.stream, supply.tokens_per_row, supply.begin, supply.limit, count)
        for supply, count in zip(supplies, taken, strict=True)
    )
    idle = {name: each for name, each in consumed.items() if name not in sizes}
    return MixturePlan(sources, order, lengths.limited_by, seed, idle)


def _seed(parameters: MixParameters, consumed: Mapping[str, Consumed]) -> int:
    """The seed of the recipe, or of the version that it continues. Raises MixtureError where they differ."""
    before = {each.stream.seed for each in consumed.values()}
    if not before:
        return parameters.seed or 0
    (seed,) = before
    if parameters.seed not in (None, seed):
        raise MixtureError(
            f"seed: {parameters.seed}, but {parameters.continues} has {seed}: leave the seed out, since the rows that "
            "are left go on in the order of those that were used"
        )
    return seed


def _supply(name: str, seed: int, available: Available, parameters: MixParameters, consumed: Consumed | None) -> Supply:
    if available.rows < 0:
        raise ValueError(f"source {name!r} has {available.rows} rows")
    if consumed is None:
        stream, begin = SourceStream.of(name, seed, available.rows, available.held_out), 0
    else:
        stream, begin = consumed.stream.grown(consumed.position, available.rows), consumed.position
    tokens_per_row = Fraction(available.tokens, available.rows) if available.rows else Fraction(0)
    return Supply(stream, tokens_per_row, begin, stream.position_after(parameters.repetitions_of(name)))
