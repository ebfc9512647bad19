"""Phases: consecutive ranges of positions, each with a schedule of its own over streams that go on through all of them.

Guarantees that row i depends on the phases before it, on its own, on the streams and on i alone, and that it costs the
same to ask from anywhere. How long phases are is decided by `lengths`.
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
        name: of the phase.
        first: position of its first row.
        rows: its length.
        shares: of each source, in order; they add up to 1.
        schedule: which source stands where in it.
        begin: int64 [sources], the position of each source's stream at which the phase begins.
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
    """Which row of which source stands at a position.

    Attributes:
        streams: of the sources; their index is the `source` in `rows_at`.
        phases: one at least, each beginning where the one before ends.
    """

    streams: tuple[SourceStream, ...]
    phases: tuple[PhasePlan, ...]

    @staticmethod
    def make(
        streams: Sequence[SourceStream], begin: Sequence[int], phases: Sequence[tuple[str, int, Sequence[Fraction]]]
    ) -> TrainingOrder:
        """Of streams that stand at the positions `begin`, and phases: name, rows and shares (in order of streams).

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
        """Position of each stream before the row at a position, int64 [sources]: what has been used by then.

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
        """For each source that occurs in `source` (the turns from `first` on): its number, where it occurs, and the
        position of its stream at the first of these places; the others follow.
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
        """A JSON form: all that the order depends on but the seed. `from_dict` reads it back."""
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
        """The order that `as_dict` wrote, without a walk; asking walks `schedule.STORED_STRIDE` positions at most."""
        streams = [SourceStream.from_dict(name, seed, stream) for name, stream in data["streams"].items()]
        begin = [stream["begin"] for stream in data["streams"].values()]
        phases = [
            (phase["name"], SourceSchedule.restored(phase["weights"], phase["rows"], phase["taken"], phase["noted"]))
            if "taken" in phase  # not in what was written by earlier versions of this
            else (phase["name"], SourceSchedule.make(phase["weights"], phase["rows"]))
            for phase in data["phases"]
        ]
        return TrainingOrder._of(streams, begin, phases)
