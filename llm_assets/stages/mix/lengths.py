"""How long the phases of a mixture are, and whether its sources have the rows for it.

Guarantees that what is found can be supplied: at the given shares no source is used more often than allowed. A length
that cannot be is refused with what would do, never shortened quietly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from llm_assets.stages.mix.recipe import MixParameters, Phase, exact
from llm_assets.stages.mix.shares import MixtureError
from llm_assets.stages.mix.source_stream import SourceStream

_MOST_ROWS = 2**60


@dataclass(frozen=True)
class Supply:
    """What one source can give.

    Attributes:
        stream: its rows in the order in which they are used.
        tokens_per_row: mean number of tokens in a row of it.
        begin: where its stream stands: rows used before, by versions that are continued.
        limit: position up to which the stream may be used.
    """

    stream: SourceStream
    tokens_per_row: Fraction
    begin: int
    limit: int

    @property
    def name(self) -> str:
        """Name of the source."""
        return self.stream.name

    @property
    def available(self) -> int:
        """Rows that are not held out."""
        return self.stream.slots

    @property
    def allowed(self) -> int:
        """Rows that it can give now, repetitions included."""
        return max(0, self.limit - self.begin)


@dataclass(frozen=True)
class Demand:
    """A phase as the recipe has it, with its shares by source in the order of the supplies."""

    phase: Phase
    shares: tuple[Fraction, ...]


class ShareError(MixtureError):
    """Sources that cannot give their shares: `short`, with the rows each would have to give; the most rows there can
    be (None where there can be none, or the recipe says how long each phase is). `lengths` are empty where no length
    was asked for, and none is possible.
    """

    def __init__(
        self,
        short: tuple[tuple[Supply, int], ...],
        demands: Sequence[Demand],
        lengths: Sequence[int],
        shares: Sequence[Sequence[Fraction]],
        most_rows: int | None,
    ) -> None:
        self.short = tuple(supply for supply, _ in short)
        self.most_rows = most_rows
        remedies = [f"ask for at most {most_rows} rows in all"] if most_rows else []
        remedies += ["lower the share or set it to 0", "add rows to the source"]
        if any(supply.stream.held_out and not supply.begin for supply in self.short):
            remedies.append("hold out fewer (held_out.by_source)")
        if any(supply.available for supply in self.short):
            remedies.append("raise max_repetitions (or max_repetitions_by_source)")
        lines = [
            _shortfall(supply, needed, _asked(demands, lengths, parts) if lengths else "any mixture")
            for (supply, needed), parts in zip(short, shares, strict=True)
        ]
        super().__init__("\n".join([*lines, f"Remedy: {', or '.join(remedies)}."]))


def _asked(demands: Sequence[Demand], lengths: Sequence[int], shares: Sequence[Fraction]) -> str:
    """`0.3 of 100 rows`, for each phase that wants something."""
    one = len(demands) == 1
    return " and ".join(
        f"{float(share):.6g} of {length} rows" + ("" if one else f" ({demand.phase.name})")
        for demand, length, share in zip(demands, lengths, shares, strict=True)
        if share
    )


def _shortfall(supply: Supply, needed: int, asked: str) -> str:
    used = f", of which {supply.begin} are used up before" if supply.begin else ""
    held_out = f" ({supply.stream.held_out} more are held out)" if supply.stream.held_out else ""
    message = (
        f"source {supply.name!r}: its share of {asked} needs {needed} rows; it has {supply.available} rows{held_out}, "
        f"and max_repetitions allows {supply.limit}{used}"
    )
    if not supply.available:
        return message
    return f"{message} (max_repetitions {_enough(supply, needed)} would do)"


def _enough(supply: Supply, needed: int) -> float:
    """The next number of four decimals with which the source can give the rows."""
    return math.ceil(supply.stream.repetitions(supply.begin + needed) * 10_000) / 10_000


@dataclass(frozen=True)
class Lengths:
    """The lengths of the phases, and the sources without which they could be longer, where that was the limit."""

    rows: tuple[int, ...]
    limited_by: tuple[str, ...]


class LengthFinder:
    """Finds the lengths of the phases of one recipe."""

    def __init__(self, parameters: MixParameters, supplies: Sequence[Supply], demands: Sequence[Demand]) -> None:
        self._parameters = parameters
        self._supplies = tuple(supplies)
        self._demands = tuple(demands)
        self._fixed = [self._fixed_length(demand) for demand in demands]

    def find(self) -> Lengths:
        """The lengths. Raises ShareError, and MixtureError where a phase would have no row."""
        if all(length is not None for length in self._fixed):
            lengths = [length for length in self._fixed if length is not None]
            if self._short(lengths):
                raise self._shortage(lengths, None)
            return Lengths(tuple(lengths), ())
        asked, most = self._asked(), self._longest()
        lengths = self._lengths(most if asked is None else asked)
        if lengths is None or self._short(lengths):
            raise self._refusal(asked, most)
        return Lengths(self._with_rows(lengths), self._limiting(most) if asked is None else ())

    def _with_rows(self, lengths: Sequence[int]) -> tuple[int, ...]:
        empty = [demand.phase.name for demand, length in zip(self._demands, lengths, strict=True) if not length]
        if empty:
            raise MixtureError(
                f"phase {empty[0]!r} would have no row: make it longer, or the whole mixture, which has {sum(lengths)}"
            )
        return tuple(lengths)

    def _fixed_length(self, demand: Demand) -> int | None:
        """Rows of a phase that says so in rows or tokens."""
        if demand.phase.rows is not None:
            return demand.phase.rows
        if demand.phase.tokens is not None:
            mean = self._tokens_per_row(demand)
            if not mean:
                raise MixtureError(f"phase {demand.phase.name!r}: its sources have no tokens, so no rows make them up")
            return math.ceil(demand.phase.tokens / mean)
        return None

    def _tokens_per_row(self, demand: Demand) -> Fraction:
        """The mean number of tokens in a row of a phase."""
        parts = zip(demand.shares, self._supplies, strict=True)
        return sum((share * supply.tokens_per_row for share, supply in parts), Fraction(0))

    def _asked(self) -> int | None:
        """Rows of the whole, where the recipe says."""
        parameters = self._parameters
        if parameters.epochs is not None:
            used = [any(demand.shares[number] for demand in self._demands) for number in range(len(self._supplies))]
            rows = sum(supply.available for supply, is_used in zip(self._supplies, used, strict=True) if is_used)
            return math.floor(exact(parameters.epochs) * rows)
        if parameters.total_tokens is not None:
            return self._rows_for(parameters.total_tokens)
        return parameters.total_rows

    def _rows_for(self, tokens: int) -> int:
        """The fewest rows of the whole that have so many tokens, by the mean of each phase."""
        means = [self._tokens_per_row(demand) for demand in self._demands]
        low, high = self._least(), max(self._least(), _MOST_ROWS)
        while low < high:
            middle = (low + high) // 2
            lengths = self._lengths(middle) or ()
            if sum(length * mean for length, mean in zip(lengths, means, strict=False)) >= tokens:
                high = middle
            else:
                low = middle + 1
        return low

    def _least(self) -> int:
        """Rows of the phases that say how many they have."""
        return sum(length or 0 for length in self._fixed)

    def _lengths(self, total: int | None) -> list[int] | None:
        """The length of each phase of a whole of so many rows; None where those of fixed length are longer already.

        Where the ends of phases fall between rows, they are rounded down, each end by itself.
        """
        if total is None or total < self._least():
            return None
        through, before, lengths = Fraction(0), 0, list[int]()
        for demand, fixed in zip(self._demands, self._fixed, strict=True):
            if demand.phase.fraction is not None:
                through += exact(demand.phase.fraction)
                lengths.append(math.floor(through * total) - before)
                before += lengths[-1]
            else:
                lengths.append(fixed or 0)
        rest = total - sum(lengths)
        if rest < 0:
            return None
        for number, demand in enumerate(self._demands):
            if demand.phase.takes_the_rest:
                lengths[number] = rest
        return lengths

    def _needed(self, lengths: Sequence[int]) -> Iterator[tuple[Supply, int]]:
        """Rows that each source may have to give: in every phase its share, rounded up."""
        for number, supply in enumerate(self._supplies):
            phases = zip(self._demands, lengths, strict=True)
            yield supply, sum(math.ceil(demand.shares[number] * length) for demand, length in phases)

    def _short(self, lengths: Sequence[int]) -> tuple[tuple[Supply, int], ...]:
        return tuple((supply, needed) for supply, needed in self._needed(lengths) if needed > supply.allowed)

    def _fits(self, total: int) -> bool:
        lengths = self._lengths(total)
        return lengths is not None and not self._short(lengths)

    def _longest(self) -> int | None:
        """Rows of the longest mixture that no source is too small for; None where there is none at all.

        Found by bisection. With rounded ends of phases, more rows may need less of a source, by a row for each phase:
        so what is found is increased as long as one row more fits.
        """
        low = max(1, self._least())
        if not self._fits(low):
            return None
        high = max(low + 1, sum(supply.allowed for supply in self._supplies) + 1)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._fits(middle) else (low, middle)
        while self._fits(low + 1):
            low += 1
        return low

    def _limiting(self, most: int | None) -> tuple[str, ...]:
        lengths = self._lengths(None if most is None else most + 1)
        return tuple(supply.name for supply, _ in self._short(lengths or []))

    def _refusal(self, asked: int | None, most: int | None) -> MixtureError:
        total = asked or max(1, self._least())
        lengths = self._lengths(total)
        if lengths is None:
            return MixtureError(
                f"{total} rows in all, but the phases that say how long they are have {self._least()}, and the "
                "fractions take their part: ask for more rows, or shorten a phase"
            )
        return self._shortage(lengths, most, asked is not None or self._least() > 0)

    def _shortage(self, lengths: Sequence[int], most: int | None, was_asked: bool = True) -> ShareError:
        short = self._short(lengths)
        numbers = [self._supplies.index(supply) for supply, _ in short]
        shares = [[demand.shares[number] for demand in self._demands] for number in numbers]
        return ShareError(short, self._demands, lengths if was_asked else (), shares, most)
