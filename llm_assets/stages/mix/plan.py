"""What a mixture takes from each source, and the order of its rows.

Guarantees exact shares: less than one row from p·t among the first t rows, for every source and every t, and
that no source is used more often than allowed. A recipe that a source cannot fill is an error, never a quiet
change of the shares. Reads and writes no row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from llm_assets.stages.mix.order import rows_in_order
from llm_assets.stages.mix.schedule import Schedule, whole_weights
from llm_assets.stages.stage import Parameters

MAX_SEED = 2**63 - 1
Share = Annotated[float, Field(strict=True, ge=0, le=2**53, allow_inf_nan=False)]


class MixParameters(Parameters):
    """The recipe of a mixture.

    Attributes:
        shares: source name to its part of the rows. Only proportions count: they need not add up to 1. Each
            is the decimal number as it is written: 0.1 is one tenth. 0 means none of the source.
        seed: of the order of rows within the sources.
        max_repetitions: how often a source's rows may be used at most; 0.5 is half of them once.
        total_rows: rows of the mixture; where None, the most for which no share of them exceeds what
            `max_repetitions` allows of a source.
    """

    shares: dict[str, Share] = Field(min_length=1)
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    max_repetitions: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    total_rows: int | None = Field(default=None, gt=0)

    @field_validator("shares")
    @classmethod
    def _in_order_of_names(cls, shares: dict[str, float]) -> dict[str, float]:
        """Sorted, so that the order in a file changes nothing; refused where they could not be kept exactly."""
        whole_weights([_exact(share) for share in shares.values()])
        return {name: abs(shares[name]) for name in sorted(shares)}

    @property
    def exact_shares(self) -> dict[str, Fraction]:
        """The shares as fractions that add up to 1, in order of names."""
        total = sum(map(_exact, self.shares.values()))
        return {name: _exact(share) / total for name, share in self.shares.items()}


def _exact(number: float) -> Fraction:
    """The decimal number that a person wrote to get this float."""
    return Fraction(repr(number))


@dataclass(frozen=True)
class Supply:
    """What one source can give to its exact `share`: it has `available` rows, `allowed` with repetitions."""

    name: str
    share: Fraction
    available: int
    allowed: int

    def needed(self, total_rows: int) -> int:
        """Rows a mixture of `total_rows` may need: the share of them, rounded up."""
        return math.ceil(self.share * total_rows)

    @property
    def most_rows(self) -> int | None:
        """Rows of the longest mixture this source is enough for; None where it has no part in it."""
        return math.floor(self.allowed / self.share) if self.share else None


class ShareError(ValueError):
    """Sources that cannot give their shares: `short`, of a mixture of `total_rows` (None: of any mixture)."""

    def __init__(self, short: tuple[Supply, ...], total_rows: int | None, most_rows: int) -> None:
        remedies = [f"ask for total_rows of at most {most_rows}"] if most_rows else []
        remedies += ["lower the share or set it to 0", "add rows to the source"]
        lines = [_shortfall(supply, total_rows) for supply in short]
        super().__init__("\n".join([*lines, f"Remedy: {', '.join(remedies)}, or raise max_repetitions."]))
        self.short = short
        self.total_rows = total_rows


def _shortfall(supply: Supply, total_rows: int | None) -> str:
    needed = supply.needed(total_rows or 1)
    whole = f"{total_rows} rows needs {needed} rows" if total_rows else "any mixture needs a row"
    message = (
        f"source {supply.name!r}: its share of {float(supply.share):.6g} of {whole}; it has "
        f"{supply.available} rows, and max_repetitions allows {supply.allowed}"
    )
    if not supply.available:
        return message
    return f"{message} (max_repetitions {_rounded_up(Fraction(needed, supply.available))} would do)"


def _rounded_up(number: Fraction) -> float:
    """The next number of four decimals."""
    return math.ceil(number * 10_000) / 10_000


@dataclass(frozen=True)
class SourcePlan:
    """What a mixture takes from one source: rows `taken` of the rows `available`, for an exact `share`."""

    name: str
    share: Fraction
    available: int
    taken: int

    @property
    def repetitions(self) -> float:
        """How often the rows of the source are used; 0 where it has none."""
        return self.taken / self.available if self.available else 0.0


@dataclass(frozen=True, eq=False)
class MixturePlan:
    """A mixture: what it takes from each source, and which row stands where.

    Attributes:
        sources: the sources of the recipe in order of names; their index is the `source` in `order`.
        total_rows: rows of the mixture.
        limited_by: names of the sources without which it could be longer; none where `total_rows` was given.
        seed: of the order within the sources.
        schedule: which source stands where.
    """

    sources: tuple[SourcePlan, ...]
    total_rows: int
    limited_by: tuple[str, ...]
    seed: int
    schedule: Schedule

    def order(self, first: int, last: int) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
        """The rows at the positions `first` to `last` (exclusive).

        Returns the index of the source in `sources`, int16 [last - first], and the row of that source,
        int64 [last - first]: the same in whatever pieces it is asked for. Anywhere it costs at most the time of
        2**16 positions more than were asked for. Raises IndexError for positions outside the mixture.
        """
        names = [source.name for source in self.sources]
        rows = [source.available for source in self.sources]
        return rows_in_order(self.schedule, names, rows, self.seed, first, last)

    def counts(self, position: int) -> dict[str, int]:
        """Rows of each source before a position, each share · position rounded up or down.

        Raises IndexError for a position outside the mixture.
        """
        counts = self.schedule.counts(position).tolist()
        return {source.name: count for source, count in zip(self.sources, counts, strict=True)}


def plan_mixture(rows_by_source: Mapping[str, int], parameters: MixParameters) -> MixturePlan:
    """What to take from sources that have the given numbers of rows. Sources without a share are left alone.

    Walks once over the schedule, up to its period or to the end of the mixture (see `Schedule`).

    Raises:
        ShareError: a source cannot give its share of `total_rows` within `max_repetitions`, or has no row that
            may be used at all.
        ValueError: a negative number of rows.
    """
    supplies = [
        _supply(name, share, rows_by_source.get(name, 0), parameters) for name, share in parameters.exact_shares.items()
    ]
    most_rows, limited_by = _longest(supplies)
    total_rows = parameters.total_rows or most_rows
    if total_rows == 0 or total_rows > most_rows:
        short = tuple(supply for supply in supplies if supply.needed(total_rows or 1) > supply.allowed)
        raise ShareError(short, parameters.total_rows, most_rows)
    schedule = Schedule.make(whole_weights([supply.share for supply in supplies]), total_rows)
    sources = tuple(
        SourcePlan(supply.name, supply.share, supply.available, taken)
        for supply, taken in zip(supplies, schedule.counts(total_rows).tolist(), strict=True)
    )
    return MixturePlan(sources, total_rows, () if parameters.total_rows else limited_by, parameters.seed, schedule)


def _supply(name: str, share: Fraction, available: int, parameters: MixParameters) -> Supply:
    if available < 0:
        raise ValueError(f"source {name!r} has {available} rows")
    return Supply(name, share, available, math.floor(available * _exact(parameters.max_repetitions)))


def _longest(supplies: Iterable[Supply]) -> tuple[int, tuple[str, ...]]:
    """Rows of the longest mixture that no source is too small for, and the sources that are too small for more."""
    most = {supply.name: supply.most_rows for supply in supplies if supply.most_rows is not None}
    shortest = min(most.values())
    return shortest, tuple(name for name, rows in most.items() if rows == shortest)
