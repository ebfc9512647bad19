"""The announced visits of a reader to shards, known up to a horizon beyond its position.

Guarantees that an announcement, which may be endless, is consumed only as far as the horizon. `files` decides which of
the coming shards to prefetch. Not thread-safe.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

_NEAR, _FARTHEST = 16, 4096
"""Visits that a reader may skip, and the greatest horizon: computing one visit takes microseconds."""


@dataclass(frozen=True)
class Visit:
    """A number of rows read from one shard before the reader moves to another."""

    shard: int
    rows: int


class VisitPlan:
    """The visits of one reader. The next `horizon` ones are known, at most `_FARTHEST`."""

    def __init__(self, visits: Iterator[Visit], horizon: int) -> None:
        self._visits = visits
        self._horizon = min(horizon, _FARTHEST)
        self._now: Visit | None = None
        self._coming: deque[Visit] = deque()
        self._due_visits: Counter[int] = Counter()
        self._due_rows: Counter[int] = Counter()
        self._look()

    @property
    def over(self) -> bool:
        """True where no visit comes after the current one."""
        return not self._coming

    def reach(self, shard: int) -> bool:
        """Move to the next visit of the shard. False where none is near; the plan then stays where it is."""
        if self._now is not None and self._now.shard == shard:
            return True
        near = [visit.shard for visit in islice(self._coming, _NEAR)]
        if shard not in near:
            return False
        for _ in range(near.index(shard) + 1):
            if self._now is not None:
                self._due_visits[self._now.shard] -= 1
                self._due_rows[self._now.shard] -= self._now.rows
            self._now = self._coming.popleft()
        self._look()
        return True

    def next(self, count: int) -> list[int]:
        """The next distinct shards after the current one, up to `count`, in order."""
        found: dict[int, None] = {}
        for visit in self._coming:
            if len(found) == count:
                break
            if self._now is None or visit.shard != self._now.shard:
                found[visit.shard] = None
        return [*found]

    def due(self, shard: int) -> tuple[int, int]:
        """Number of visits of a shard within the horizon, the current one included, and their rows in total."""
        return self._due_visits[shard], self._due_rows[shard]

    def _look(self) -> None:
        for visit in islice(self._visits, self._horizon - len(self._coming)):
            last = self._coming[-1] if self._coming else None
            if last is not None and last.shard == visit.shard:
                self._coming[-1] = Visit(visit.shard, last.rows + visit.rows)
            else:
                self._coming.append(visit)
                self._due_visits[visit.shard] += 1
            self._due_rows[visit.shard] += visit.rows
