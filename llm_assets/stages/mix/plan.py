"""What a mixture takes from each source, and the order of its rows.

Guarantees exact shares: within a phase, less than one row from p·t among its first t rows, for every source and every
t, and that no source is used more often than allowed. A recipe that a source cannot fill is an error, never a quiet
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
    """What there is of a source: rows, their tokens, and how many of the rows are held out."""

    rows: int
    tokens: int
    held_out: int = 0


@dataclass(frozen=True)
class Consumed:
    """How far earlier versions have used a source: the stream up to `position`."""

    stream: SourceStream
    position: int


@dataclass(frozen=True)
class SourcePlan(Supply):
    """What a mixture takes of what one source can give: `taken` rows, repetitions included, from `begin` on."""

    taken: int

    @property
    def end(self) -> int:
        """Position of the stream where the mixture ends."""
        return self.begin + self.taken

    @property
    def repetitions(self) -> float:
        """How often the mixture uses the rows of the source; 0 where it has none."""
        return self.taken / self.available if self.available else 0.0


@dataclass(frozen=True, eq=False)
class MixturePlan:
    """A mixture: what it takes from each source, and which row stands where.

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
        int64 [last - first]: the same in whatever pieces it is asked for. Anywhere it costs at most the time of
        2**16 positions more than were asked for. Raises IndexError for positions outside the mixture.
        """
        return self.order.rows_at(first, last)

    def counts(self, position: int) -> dict[str, int]:
        """Rows of each source before a position: in each phase its share of the rows so far, rounded up or down.

        Raises IndexError for a position outside the mixture.
        """
        return dict(zip(self.names, (self.order.at(position) - self.order.begin).tolist(), strict=True))

    def consumed(self, position: int) -> dict[str, Consumed]:
        """How far each source is used before a position, by this mixture and those that it continues.

        Raises IndexError for a position outside the mixture.
        """
        at = self.order.at(position).tolist()
        used = {stream.name: Consumed(stream, at[number]) for number, stream in enumerate(self.order.streams)}
        return {**self.idle, **used}

    def as_dict(self) -> dict[str, Any]:
        """A JSON form of what the order depends on: `consumed_before` reads it."""
        idle = {name: {**each.stream.as_dict(), "position": each.position} for name, each in self.idle.items()}
        return {"seed": self.seed, **self.order.as_dict(), "idle": idle}


def consumed_before(plan: Mapping[str, Any], position: int) -> dict[str, Consumed]:
    """What `MixturePlan.consumed` says, from the plan's JSON form. Raises IndexError."""
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
    """What to take from the sources there are. Those that the recipe does not name are left alone.

    `consumed` is what the version that the recipe continues had used by then: its streams go on, `held_out` of
    `available` is not looked at for these. Walks once over the schedule of each phase, up to its period or to its end
    (see `SourceSchedule`).

    Raises:
        ShareError: a source cannot give its share within its `max_repetitions`, or has no row that may be used at all.
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
    """The seed of the recipe, or of the version it continues: they cannot differ."""
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
