"""How often a number is how large, in bins: all that a plot needs, however many values there are.

Guarantees that every value is in a bin, so that counts add up to the values. How it is drawn is decided above.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

BINS: Final = 40
_LONG_TAIL: Final = 100
_FRACTIONS_END: Final = 10
_APART: Final = 1e-9
_TINY: Final = 1e-300


@dataclass(frozen=True)
class ValueRange:
    """From which number to which others lie, and the smallest of them over 0; empty unless told."""

    low: float = np.inf
    high: float = -np.inf
    low_positive: float = np.inf

    def including(self, values: npt.NDArray[Any]) -> Self:
        """The span of these values too; they are finite."""
        if not len(values):
            return self
        positive = values[values > 0]
        return type(self)(
            min(self.low, float(values.min())),
            max(self.high, float(values.max())),
            min(self.low_positive, float(positive.min())) if len(positive) else self.low_positive,
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing lies in it."""
        return self.low > self.high

    @property
    def has_long_tail(self) -> bool:
        """Whether numbers of 0 or more spread over two orders of magnitude, and are no fractions."""
        return self.low >= 0 and self.high > _FRACTIONS_END and self.high > _LONG_TAIL * self.low_positive

    @property
    def edges(self) -> npt.NDArray[np.float64]:
        """Bounds of `BINS` bins, float64 [bins + 1]: geometric where there is a long tail, with one more for zeros."""
        if self.is_empty:
            return np.zeros(1)
        if not self.has_long_tail:
            room = self._room
            return np.linspace(self.low - room, self.high + room, BINS + 1)
        edges = np.geomspace(self.low_positive, self.high, BINS + 1)
        return np.concatenate([[0.0], edges]) if self.low < self.low_positive else edges

    @property
    def _room(self) -> float:
        """Margin on both sides of numbers that are too close together for bins between them."""
        size = max(abs(self.low), abs(self.high))
        return max(0.5, _APART * size) if self.high - self.low <= _APART * size + _TINY else 0.0


@dataclass(frozen=True)
class Histogram:
    """Counts by series, int64 [bins] each, between `edges`, float64 [bins + 1].

    `marks` are numbers to look at, by what they are; `logarithmic` says that bins widen with the number.
    """

    edges: npt.NDArray[np.float64]
    counts: Mapping[str, npt.NDArray[np.int64]]
    logarithmic: bool
    marks: Mapping[str, float] = field(default_factory=dict[str, float])

    @classmethod
    def empty(cls, covered: ValueRange, series: Iterable[str], marks: Mapping[str, float]) -> Self:
        """One to `add` to: nothing counted yet of values that lie in the span; the bins reach to the marks too."""
        whole = covered if covered.is_empty else covered.including(np.array(list(marks.values()), np.float64))
        edges = whole.edges
        counts = {name: np.zeros(len(edges) - 1, np.int64) for name in series}
        return cls(edges, counts, whole.has_long_tail, marks)

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> Self:
        """The histogram of one series without a name."""
        histogram = cls.empty(ValueRange().including(values), [""], {})
        histogram.add("", values)
        return histogram

    def add(self, series: str, values: npt.NDArray[Any]) -> None:
        """Count more values. Raises ValueError for one outside the span that the histogram was made for."""
        counts = self.counts[series]
        if not len(values):
            return
        added = np.histogram(values, self.edges)[0] if len(counts) else np.zeros(0, np.int64)
        if added.sum() != len(values):
            raise ValueError(f"{len(values) - added.sum()} values lie outside of {self.edges[0]} to {self.edges[-1]}")
        counts += added
