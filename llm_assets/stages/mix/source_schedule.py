"""Assigns a source to every position, with exact shares at every prefix.

Guarantees that of the first t positions a source with share p has floor(p·t) or ceil(p·t), for every t: less than one
row from its share. All arithmetic is on integers. `source_stream` decides which row of the source comes next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_assets.kernels.kernel import kernel

MAX_PERIOD = 2**60
MAX_SOURCES = 2**15 - 1
STRIDE = 2**16
STORED_STRIDE = 2**24
"""Positions between counts that are stored: walking them takes about a second."""

_NEVER = 2**63 - 1


def whole_weights(shares: Sequence[Fraction]) -> list[int]:
    """The smallest integers in the proportion of the shares. Their sum is the period of the schedule.

    Raises ValueError where the shares are all 0, one is negative, or the period would exceed 2**60.
    """
    if any(share < 0 for share in shares) or not any(shares):
        raise ValueError(f"shares {[str(share) for share in shares]}: give numbers of 0 or more, at least one above 0")
    denominator = math.lcm(*(share.denominator for share in shares))
    numbers = [int(share * denominator) for share in shares]
    divisor = math.gcd(*numbers)
    weights = [number // divisor for number in numbers]
    if sum(weights) > MAX_PERIOD:
        raise ValueError(
            f"the shares have no common denominator up to 2**60 (the smallest is {sum(weights)}): "
            "write them with fewer digits"
        )
    return weights


@dataclass(frozen=True, eq=False)
class SourceSchedule:
    """The source of each position, by earliest deadline first.

    With share p, row k of a source (k = 0, 1, …) is released at position floor(k / p), and its deadline is position
    ceil((k + 1) / p). Each position goes to the source whose next row is released and has the earliest deadline; ties
    go to the first source. No deadline is missed: a fractional assignment of p to every position would meet them all,
    and earliest deadline first finds a schedule where one exists (Tijdeman 1980, the chairman assignment problem;
    Baruah et al. 1996, proportionate progress).

    The pattern repeats after `period` positions. Counts are noted every `stride` positions, and the schedule is walked
    from the nearest note. Making it costs one walk over min(positions, period); using it anywhere costs at most
    `stride` positions more than asked for. A few notes, stored with a version, save the walk later: see `stored`.

    Attributes:
        weights: int64 [sources], the shares as coprime integers.
        positions: length of the schedule.
        noted: int64 [notes, sources], rows of each source before position `stride` · note of the period.
        taken: int64 [sources], rows of each source in all positions.
        stride: positions between notes.
    """

    weights: NDArray[np.int64]
    positions: int
    noted: NDArray[np.int64]
    taken: NDArray[np.int64]
    stride: int

    @classmethod
    def make(cls, weights: Sequence[int], positions: int) -> SourceSchedule:
        """The schedule for weights of `whole_weights`. Raises ValueError for too many sources."""
        if len(weights) > MAX_SOURCES:
            raise ValueError(f"{len(weights)} sources; {MAX_SOURCES} are possible")
        walked = min(positions, sum(weights))
        noted = np.empty((walked // STRIDE + 1, len(weights)), np.int64)
        walker = _Walker.at(weights, 0, [0] * len(weights))
        for note in noted[:-1]:
            note[:] = walker.counts
            walker.walk(STRIDE)
        noted[-1] = walker.counts
        made = cls(np.array(weights, np.int64), positions, noted, np.zeros(len(weights), np.int64), STRIDE)
        return replace(made, taken=made.counts(positions))

    def stored(self) -> dict[str, list[int] | list[list[int]]]:
        """The result of the walk in a JSON form, with which `restored` saves the walk."""
        return {"taken": self.taken.tolist(), "noted": self.noted[:: STORED_STRIDE // self.stride].tolist()}

    @classmethod
    def restored(
        cls, weights: Sequence[int], positions: int, taken: Sequence[int], noted: Sequence[Sequence[int]]
    ) -> SourceSchedule:
        """The schedule from the values of `stored`, without a walk."""
        counts = np.array(noted, np.int64).reshape(-1, len(weights))
        return cls(np.array(weights, np.int64), positions, counts, np.array(taken, np.int64), STORED_STRIDE)

    @property
    def period(self) -> int:
        """Positions after which the pattern repeats."""
        return int(self.weights.sum())

    def turns(self, first: int, last: int) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
        """The source of each position from `first` to `last` (exclusive), int16 [last - first].

        The second result is `counts(first)`: rows of each source before `first`, int64 [sources].
        Raises IndexError for positions beyond the schedule.
        """
        if not first <= last <= self.positions:
            raise IndexError(f"positions {first} to {last} of a schedule of {self.positions}")
        walker, periods = self._walker(first)
        before = walker.counts + periods * self.weights
        return walker.walk(last - first), before

    def counts(self, position: int) -> NDArray[np.int64]:
        """Rows of each source before a position, int64 [sources]. Raises IndexError as `turns` does."""
        walker, periods = self._walker(position)
        return walker.counts + periods * self.weights

    def _walker(self, position: int) -> tuple[_Walker, int]:
        """A walker at the position, and the number of whole periods that it skipped."""
        if not 0 <= position <= self.positions:
            raise IndexError(f"position {position} of a schedule of {self.positions}")
        periods, rest = divmod(position, self.period)
        note = rest // self.stride
        walker = _Walker.at(self.weights.tolist(), note * self.stride, self.noted[note].tolist())
        walker.walk(rest - note * self.stride)
        return walker, periods


@dataclass(eq=False)
class _Walker:
    """The state of a walk: its position, and for each source the window of its next row (int64 [sources]).

    The window opens at position `opens`; it closes at `closes + excess / weight`, with excess < weight.
    """

    position: int
    weights: NDArray[np.int64]
    counts: NDArray[np.int64]
    opens: NDArray[np.int64]
    closes: NDArray[np.int64]
    excess: NDArray[np.int64]

    @classmethod
    def at(cls, weights: Sequence[int], position: int, counts: Sequence[int]) -> _Walker:
        """A walk after which each source has its count of rows. A source of weight 0 never gets a position."""
        period = sum(weights)
        windows = [
            (count * period // weight, *divmod((count + 1) * period, weight)) if weight else (_NEVER, _NEVER, 0)
            for weight, count in zip(weights, counts, strict=True)
        ]
        opens, closes, excess = np.array(windows, np.int64).T.copy()
        return cls(position, np.array(weights, np.int64), np.array(counts, np.int64), opens, closes, excess)

    def walk(self, positions: int) -> NDArray[np.int16]:
        """Advance, and return the source of each position passed, int16 [positions]."""
        sources = np.empty(positions, np.int16)
        _walk(self.position, self.weights, self.counts, self.opens, self.closes, self.excess, sources)
        self.position += positions
        return sources


@kernel
def _walk(position: Any, weights: Any, counts: Any, opens: Any, closes: Any, excess: Any, sources: Any) -> None:
    """Fill `sources` and advance the other arrays. Windows advance by additions, without division or rounding.

    One loop without branches finds the earliest deadline, a second one its source: two to four times faster than one
    loop for both, since the first is vectorised.
    """
    period = weights.sum()
    step = np.zeros_like(weights)
    step_excess = np.zeros_like(weights)
    deadline = np.empty_like(weights)
    for source in range(weights.size):
        if weights[source] > 0:
            step[source] = period // weights[source]
            step_excess[source] = period % weights[source]
        deadline[source] = closes[source] + (excess[source] > 0)
    for slot in range(sources.size):
        earliest = _NEVER
        for source in range(weights.size):
            earliest = min(earliest, deadline[source] if opens[source] <= position + slot else _NEVER)
        chosen = 0  # at least one window is open: the ceil(p · t) add up to more than the rows assigned so far
        for source in range(weights.size):
            if deadline[source] == earliest and opens[source] <= position + slot:
                chosen = source
                break
        sources[slot] = chosen
        counts[chosen] += 1
        opens[chosen] = closes[chosen]
        closes[chosen] += step[chosen]
        excess[chosen] += step_excess[chosen]
        if excess[chosen] >= weights[chosen]:
            excess[chosen] -= weights[chosen]
            closes[chosen] += 1
        deadline[chosen] = closes[chosen] + (excess[chosen] > 0)
