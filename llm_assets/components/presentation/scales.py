"""Scales: where on a line of pixels a number is, and which numbers are written there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

_STEPS: Final = (1, 2, 5, 10)
_MOST_DECADES: Final = 7
_PREFIXES: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


class Scale(Protocol):
    """From numbers to places from 0 to 1."""

    def place(self, value: float) -> float:
        """Where a number is: 0 at the low end, 1 at the high one."""
        ...

    def ticks(self) -> list[float]:
        """Round numbers on the scale, ascending."""
        ...


@dataclass(frozen=True)
class Linear:
    """From `low` to `high`, which is more. `most` ticks at most; of whole numbers alone where `whole`."""

    low: float
    high: float
    most: int = 6
    whole: bool = False

    def place(self, value: float) -> float:
        """See `Scale`."""
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Multiples of 1, 2 or 5 times a power of ten."""
        span = self.high - self.low
        power = 10.0 ** math.floor(math.log10(span / self.most))
        step = next(power * times for times in _STEPS if span <= power * times * self.most)
        step = max(step, 1.0) if self.whole else step
        return [number * step for number in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


@dataclass(frozen=True)
class Logarithmic:
    """From `low` to `high`, both over 0, in powers of ten; with room for zeros before them where there are some.

    `zeros` is the share of the scale from 0 to `low`, which is linear.
    """

    low: float
    high: float
    zeros: float = 0.0

    def place(self, value: float) -> float:
        """See `Scale`."""
        if value < self.low:
            return self.zeros * value / self.low
        low, high = math.log(self.low), math.log(self.high)
        return self.zeros + (1 - self.zeros) * (math.log(value) - low) / (high - low)

    def ticks(self) -> list[float]:
        """Powers of ten, some left out where there are many; 0 where it has room."""
        first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
        powers = [10.0**power for power in range(first, last + 1, 1 + (last - first) // _MOST_DECADES)]
        return [0.0, *powers] if self.zeros else powers


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """Short names of numbers, with as many digits as it takes to tell them apart."""
    for digits in range(3, 17):
        labels = [short(tick, digits) for tick in ticks]
        if len(set(labels)) == len(labels):
            return labels
    return [repr(tick) for tick in ticks]


def short(value: float, digits: int = 3) -> str:
    """`1.2M`, `40k`, `0.05`: so many digits count."""
    for size, prefix in _PREFIXES:
        if size <= abs(value) < 1000 * size:
            return f"{value / size:.{digits}g}{prefix}"
    return f"{value:.{digits}g}"
