"""The order of a mixture's rows: consecutive phases, each with its own schedule over the streams of the sources.

Guarantees that row i depends only on i, the streams, its phase and the phases before it, and that looking it up costs
the same anywhere. `lengths` decides how long phases are.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_assets.stages.mix.source_schedule import SourceSchedule, whole_weights
from llm_assets.stages.mix.source_stream import SourceStream


@dataclass(frozen=True, eq=False)
class PhasePlan:
    """One phase of a mixture.

    Attributes:
        name: its name.
        first: position of its first row.
        rows: its length in rows.
        shares: the share of each source, in order; they add up to 1.
        schedule: the source of each of its positions.
        begin: int64 [sources], the position of each source's stream at its first row.
    """

    name: str
    first: int
    rows: int
    shares: tuple[Fraction, ...]
    schedule: SourceSchedule
    begin: NDArray[np.int64]

    @property
    def last(self) -> int:
        """Position after its last row."""
        return self.first + self.rows

    @property
    def taken(self) -> NDArray[np.int64]:
        """Rows of each source in it, int64 [sources]."""
        return self.schedule.taken


@dataclass(frozen=True, eq=False)
class TrainingOrder:
    """The source and row at every position of a mixture.

    Attributes:
        streams: the streams of the sources; their index is the `source` in `rows_at`.
        phases: one or more, consecutive.
    """

    streams: tuple[SourceStream, ...]
    phases: tuple[PhasePlan, ...]

    @staticmethod
    def make(
        streams: Sequence[SourceStream], begin: Sequence[int], phases: Sequence[tuple[str, int, Sequence[Fraction]]]
    ) -> TrainingOrder:
        """Make the order from streams at their positions `begin`, and phases of (name, rows, shares by stream).

        Walks once over the schedule of each phase, up to its period or its end.
        """
        scheduled = [(name, SourceSchedule.make(whole_weights(shares), rows)) for name, rows, shares in phases]
        return TrainingOrder._of(streams, begin, scheduled)

    @staticmethod
    def _of(
        streams: Sequence[SourceStream], begin: Sequence[int], phases: Sequence[tuple[str, SourceSchedule]]
    ) -> TrainingOrder:
        at, first, made = np.array(begin, np.int64), 0, list[PhasePlan]()
        for name, schedule in phases:
            shares = tuple(Fraction(weight, schedule.period) for weight in schedule.weights.tolist())
            phase = PhasePlan(name, first, schedule.positions, shares, schedule, at)
            made.append(phase)
            at, first = at + phase.taken, phase.last
        return TrainingOrder(tuple(streams), tuple(made))

    @property
    def total_rows(self) -> int:
        """Rows of all phases."""
        return self.phases[-1].last

    @property
    def begin(self) -> NDArray[np.int64]:
        """Position of each stream before the first row, int64 [sources]."""
        return self.phases[0].begin

    def at(self, position: int) -> NDArray[np.int64]:
        """Position of each stream before the row at a position, int64 [sources].

        Costs at most the time of `schedule.STRIDE` positions. Raises IndexError for positions outside the mixture.
        """
        if not 0 <= position <= self.total_rows:
            raise IndexError(f"position {position} of a mixture of {self.total_rows} rows")
        phase = self.phases[self._phase(position)]
        return phase.begin + phase.schedule.counts(position - phase.first)

    def turns(self, first: int, last: int) -> NDArray[np.int16]:
        """The source at each position from `first` to `last` (exclusive), int16 [last - first].

        Raises IndexError for positions outside the mixture.
        """
        if not 0 <= first <= last <= self.total_rows:
            raise IndexError(f"positions {first} to {last} of a mixture of {self.total_rows} rows")
        pieces = [
            phase.schedule.turns(max(first, phase.first) - phase.first, min(last, phase.last) - phase.first)[0]
            for phase in self.phases[self._phase(first) :]
            if phase.first < last and phase.last > first
        ]
        return np.concatenate([np.empty(0, np.int16), *pieces])

    def rows_at(self, first: int, last: int) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
        """Source (int16 [last - first]) and row of the source (int64 [last - first]) at each position.

        Raises IndexError for positions outside the mixture.
        """
        source = self.turns(first, last)
        rows = np.empty(len(source), np.int64)
        for number, here, begin in self.places(first, source):
            rows[here] = self.streams[number].rows_at(begin, begin + len(here))
        return source, rows

    def places(self, first: int, source: NDArray[np.int16]) -> Iterator[tuple[int, NDArray[np.intp], int]]:
        """The places of each source in `source`, the turns from `first` on.

        Yields its number, its places, and the position of its stream at the first place; the others follow in order.
        """
        begin = self.at(first).tolist()
        by_source = np.argsort(source, kind="stable")
        ends = np.cumsum(np.bincount(source, minlength=len(self.streams))).tolist()
        for number, end in enumerate(ends):
            start = ends[number - 1] if number else 0
            if end > start:
                yield number, by_source[start:end], begin[number]

    def _phase(self, position: int) -> int:
        return bisect_right(self.phases, position, key=lambda phase: phase.first) - 1

    def as_dict(self) -> dict[str, Any]:
        """A JSON form of everything that the order depends on, except the seed; `from_dict` reads it back."""
        begin = self.begin.tolist()
        return {
            "streams": {
                stream.name: {**stream.as_dict(), "begin": begin[number]} for number, stream in enumerate(self.streams)
            },
            "phases": [
                {
                    "name": phase.name,
                    "rows": phase.rows,
                    "weights": phase.schedule.weights.tolist(),
                    **phase.schedule.stored(),
                }
                for phase in self.phases
            ],
        }

    @staticmethod
    def from_dict(seed: int, data: Mapping[str, Any]) -> TrainingOrder:
        """The order that `as_dict` wrote, without a walk; looking up rows walks at most `STORED_STRIDE` positions."""
        streams = [SourceStream.from_dict(name, seed, stream) for name, stream in data["streams"].items()]
        begin = [stream["begin"] for stream in data["streams"].values()]
        phases = [
            (phase["name"], SourceSchedule.restored(phase["weights"], phase["rows"], phase["taken"], phase["noted"]))
            if "taken" in phase  # missing in plans of earlier formats
            else (phase["name"], SourceSchedule.make(phase["weights"], phase["rows"]))
            for phase in data["phases"]
        ]
        return TrainingOrder._of(streams, begin, phases)
