"""Global batch sizes over a run, and how each global batch is divided into micro-batches of the ranks.

Guarantees that position and step follow from each other by arithmetic on the schedule alone, independent of rank,
world size and history. Rows are counted over the whole run, all epochs in one stream.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from operator import index

from llm_assets.errors import LlmAssetsError


class PositionError(LlmAssetsError, ValueError):
    """A position at which no batch of this schedule starts."""


@dataclass(frozen=True)
class Step:
    """A global batch: number, first row in the stream, number of rows, and the row at which the batch size changes."""

    number: int
    first: int
    rows: int
    phase_end: int


@dataclass(frozen=True)
class _Phase:
    """Steps of one size: from row `first` and step `number` on, up to row `last` (exclusive)."""

    first: int
    last: int
    rows: int
    number: int

    @property
    def steps(self) -> int:
        return (self.last - self.first) // self.rows


class BatchSchedule:
    """Global batch sizes by position: `sizes` are pairs (from row, rows in a batch), or one size for all rows.

    A size applies to the steps that start at its row or after it; a step that spans this row keeps its size. `rows` is
    the length of the stream. Rows at its end that do not fill a step belong to none.
    Raises ValueError where the rows do not start at 0 and increase, a size is below 1 or not an integer, or the stream
    is shorter than one step.
    """

    def __init__(self, sizes: int | Sequence[tuple[int, int]], rows: int) -> None:
        if type(rows) is not int:
            raise ValueError(f"a stream of {rows} rows: the number of epochs must be an integer")
        pairs = _pairs(sizes)
        starts = [row for row, _ in pairs]
        if not pairs or starts[0] != 0 or any(after <= before for before, after in pairwise(starts)):
            raise ValueError(f"batch sizes from rows {starts}: these rows must start at 0 and increase")
        for _, size in pairs:
            if size < 1:
                raise ValueError(f"a global batch of {size} rows: give 1 or more")
        self.sizes = pairs
        self.rows = rows
        if self.end == 0:
            raise ValueError(
                f"a global batch of {pairs[0][1]} rows, but the stream has only {rows}: make it smaller, or add epochs"
            )

    @cached_property
    def _phases(self) -> list[_Phase]:
        phases: list[_Phase] = []
        first = number = 0
        for place, (_, size) in enumerate(self.sizes):
            until = self.sizes[place + 1][0] if place + 1 < len(self.sizes) else None
            most = (self.rows - first) // size
            wanted = most if until is None else max(0, -(-(until - first) // size))
            phase = _Phase(first, first + min(wanted, most) * size, size, number)
            if phase.steps:
                phases.append(phase)
            if wanted > most:
                break  # the stream ends within this phase
            first, number = phase.last, number + phase.steps
        return phases

    @property
    def end(self) -> int:
        """The row after the last whole step: the position of a finished run."""
        return self._phases[-1].last if self._phases else 0

    @property
    def steps(self) -> int:
        """Whole steps in the stream."""
        last = self._phases[-1]
        return last.number + last.steps

    def step_at(self, position: int) -> Step:
        """The step that contains row `position`. Raises PositionError outside 0 to `end`."""
        if not 0 <= position < self.end:
            raise PositionError(f"row {position} is in no step: the steps of this stream are rows 0 to {self.end}")
        phase = self._phases[bisect_right(self._phases, position, key=lambda phase: phase.first) - 1]
        steps = (position - phase.first) // phase.rows
        return Step(phase.number + steps, phase.first + steps * phase.rows, phase.rows, phase.last)

    def steps_before(self, position: int) -> int:
        """Steps completed when `position` rows are delivered."""
        return self.steps if position >= self.end else self.step_at(position).number

    def position_of(self, number: int) -> int:
        """The first row of a step; `end` for `steps`. Raises PositionError for a step that does not exist."""
        if not 0 <= number <= self.steps:
            raise PositionError(f"step {number}: the stream has {self.steps} steps")
        phase = self._phases[max(0, bisect_right(self._phases, number, key=lambda phase: phase.number) - 1)]
        return phase.first + (number - phase.number) * phase.rows

    def batch_sizes(self) -> list[int]:
        """The global batch sizes in use, in order."""
        return [phase.rows for phase in self._phases]

    def micro_batches(self, rows: int | None) -> int:
        """Batches in the whole stream for global micro-batches of `rows` rows; None: one batch for each step."""
        return sum(phase.steps * (1 if rows is None else phase.rows // rows) for phase in self._phases)


def _pairs(sizes: int | Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Pairs (from row, size). Raises ValueError for anything but an integer or a sequence of pairs of integers."""
    try:
        if isinstance(sizes, Sequence):
            return tuple((index(row), index(size)) for row, size in sizes)
        return ((0, index(sizes)),)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"batch size {sizes!r}: give a number of rows, or pairs (from row, size) as in [(0, 512), (100_000, 1024)]"
        ) from error


@dataclass(frozen=True)
class BatchGroup:
    """`count` consecutive global micro-batches of `rows` rows each, from row `first` of the stream."""

    first: int
    rows: int
    count: int


class MicroBatching:
    """Divides each step among the ranks: micro-batches of `micro_batch_size` rows per rank, or one share of the step.

    A global micro-batch is `world_size * micro_batch_size` consecutive rows; rank r takes the r-th slice.
    Raises ValueError for a batch size of the schedule that cannot be divided evenly.
    """

    def __init__(self, schedule: BatchSchedule, world_size: int, micro_batch_size: int | None) -> None:
        if micro_batch_size is not None and micro_batch_size < 1:
            raise ValueError(f"a micro-batch of {micro_batch_size} rows: give 1 or more")
        self.schedule = schedule
        self.world_size = world_size
        self._together = None if micro_batch_size is None else world_size * micro_batch_size
        for rows in schedule.batch_sizes():
            share = self._together or world_size
            if rows % share:
                how = f" in micro-batches of {micro_batch_size} rows" if micro_batch_size else ""
                near = " or ".join(str(size) for size in (rows // share * share, (rows // share + 1) * share) if size)
                raise ValueError(
                    f"a global batch of {rows} rows cannot be divided among {world_size} ranks{how}: use {near}"
                )

    def __len__(self) -> int:
        return self.schedule.micro_batches(self._together)

    def rows_at(self, step: Step) -> int:
        """Rows of a global micro-batch of a step."""
        return self._together or step.rows

    def group_at(self, position: int, most_rows: int) -> BatchGroup:
        """Batches of one size from `position` on: as many as fit in `most_rows` rows per rank, but at least one.

        Raises PositionError where no batch starts there.
        """
        step = self.check(position)
        rows = self.rows_at(step)
        most = max(1, most_rows * self.world_size // rows)
        return BatchGroup(position, rows, min(most, (step.phase_end - position) // rows))

    def check(self, position: int) -> Step:
        """The step at `position`. Raises PositionError where no batch starts there."""
        step = self.schedule.step_at(position)
        inside = position - step.first
        if inside % self.rows_at(step):
            raise PositionError(
                f"row {position} is {inside} rows into step {step.number} (rows {step.first} to "
                f"{step.first + step.rows}), where no batch starts. To resume with another batch size, give the "
                f"schedule of the whole run, [(0, before), ({position}, after)]; with another world size or "
                "micro-batch, resume from a state saved at the end of a step"
            )
        return step
