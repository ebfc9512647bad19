"""What a reader said it would read: shards in turn, known a little ahead of where it is.

Guarantees that no more is asked of an announcement, which may be endless, than the horizon needs. What is done about
the shards to come is decided elsewhere. Not thread-safe.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

_NEAR, _FARTHEST = 16, 4096
"""Visits that a reader may leave out, and visits known ahead at most: finding one takes microseconds."""


@dataclass(frozen=True)
class Visit:
    """Some rows that are read of a shard before another one is."""

    shard: int
    rows: int


class VisitPlan:
    """The visits of one reader, of which the next `horizon` are known, if not more than a few thousand."""

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
        """Whether nothing comes after where the reader is."""
        return not self._coming

    def reach(self, shard: int) -> bool:
        """The reader is at a shard. False where that is none of the next visits: the plan stays where it is."""
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
        """Up to `count` different shards that come after the one where the reader is, the first one first."""
        found: dict[int, None] = {}
        for visit in self._coming:
            if len(found) == count:
                break
            if self._now is None or visit.shard != self._now.shard:
                found[visit.shard] = None
        return [*found]

    def due(self, shard: int) -> tuple[int, int]:
        """Visits of a shard within the horizon, with the one that the reader is at, and the rows of them all."""
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
