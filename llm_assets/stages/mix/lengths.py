"""Finds the lengths of a mixture's phases, limited by the rows of its sources.

Guarantees that the sources can supply the lengths: at the given shares none is repeated more often than allowed. An
impossible length is an error that names a possible one; it is never shortened silently.
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
    """The rows that one source can supply.

    Attributes:
        stream: its rows in the order of use.
        tokens_per_row: mean number of tokens per row.
        begin: position of the stream at the start: rows used before, by versions that are continued.
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
        """Rows that it can supply now, with repetitions."""
        return max(0, self.limit - self.begin)


@dataclass(frozen=True)
class Demand:
    """A phase of the recipe, with its share of each source in the order of the supplies."""

    phase: Phase
    shares: tuple[Fraction, ...]


class ShareError(MixtureError):
    """Sources have too few rows for their shares.

    `short` are these sources, each with the rows it would need. `most_rows` is the longest possible mixture; None where
    none is possible, or the recipe fixes the length of each phase. `lengths` is empty where the recipe gives no length.
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
    """`0.3 of 100 rows`, for each phase with a share of the source."""
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
    """The least `max_repetitions`, to four decimals, with which the source has the rows."""
    return math.ceil(supply.stream.repetitions(supply.begin + needed) * 10_000) / 10_000


@dataclass(frozen=True)
class Lengths:
    """The lengths of the phases; `limited_by` names the sources that limit them where the recipe gives no length."""

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
                f"phase {empty[0]!r} would have no row: make it longer, or the whole mixture of {sum(lengths)} rows"
            )
        return tuple(lengths)

    def _fixed_length(self, demand: Demand) -> int | None:
        """Rows of a phase whose length is given in rows or tokens; None for other phases."""
        if demand.phase.rows is not None:
            return demand.phase.rows
        if demand.phase.tokens is not None:
            mean = self._tokens_per_row(demand)
            if not mean:
                raise MixtureError(
                    f"phase {demand.phase.name!r}: its length is in tokens, but its sources have none: give rows"
                )
            return math.ceil(demand.phase.tokens / mean)
        return None

    def _tokens_per_row(self, demand: Demand) -> Fraction:
        """Mean number of tokens per row of a phase."""
        parts = zip(demand.shares, self._supplies, strict=True)
        return sum((share * supply.tokens_per_row for share, supply in parts), Fraction(0))

    def _asked(self) -> int | None:
        """Rows of the whole mixture, where the recipe gives a length."""
        parameters = self._parameters
        if parameters.epochs is not None:
            used = [any(demand.shares[number] for demand in self._demands) for number in range(len(self._supplies))]
            rows = sum(supply.available for supply, is_used in zip(self._supplies, used, strict=True) if is_used)
            return math.floor(exact(parameters.epochs) * rows)
        if parameters.total_tokens is not None:
            return self._rows_for(parameters.total_tokens)
        return parameters.total_rows

    def _rows_for(self, tokens: int) -> int:
        """The fewest rows of the whole mixture with this many tokens, by the mean of each phase."""
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
        """Rows of the phases with a fixed length."""
        return sum(length or 0 for length in self._fixed)

    def _lengths(self, total: int | None) -> list[int] | None:
        """The length of each phase in a mixture of `total` rows; None where the fixed lengths exceed it.

        Ends of phases that fall between rows are rounded down, each end by itself.
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
        """The rows that each source may need: its share of every phase, rounded up."""
        for number, supply in enumerate(self._supplies):
            phases = zip(self._demands, lengths, strict=True)
            yield supply, sum(math.ceil(demand.shares[number] * length) for demand, length in phases)

    def _short(self, lengths: Sequence[int]) -> tuple[tuple[Supply, int], ...]:
        return tuple((supply, needed) for supply, needed in self._needed(lengths) if needed > supply.allowed)

    def _fits(self, total: int) -> bool:
        lengths = self._lengths(total)
        return lengths is not None and not self._short(lengths)

    def _longest(self) -> int | None:
        """Rows of the longest mixture that the sources can supply; None where no length is possible.

        Found by bisection. Since ends of phases are rounded, a longer mixture may need less of a source, by a row per
        phase: so the result is increased while one row more fits.
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
                f"{total} rows in all are too few: the phases of fixed length have {self._least()}, and the fractions "
                "take their part. Ask for more rows, or shorten a phase"
            )
        return self._shortage(lengths, most, asked is not None or self._least() > 0)

    def _shortage(self, lengths: Sequence[int], most: int | None, was_asked: bool = True) -> ShareError:
        short = self._short(lengths)
        numbers = [self._supplies.index(supply) for supply, _ in short]
        shares = [[demand.shares[number] for demand in self._demands] for number in numbers]
        return ShareError(short, self._demands, lengths if was_asked else (), shares, most)
