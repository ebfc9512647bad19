"""How far a piece of work is, told in a line now and then.

Guarantees at most one line in `EVERY_SECONDS`, and none of work that is done sooner, however many threads count.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Final

EVERY_SECONDS: Final = 10.0

Say = Callable[[str], None]
"""Takes a line for a person who watches."""


def say_nothing(line: str) -> None:
    """Nobody watches."""


class Progress:
    """Counts bytes and parts of work that begins now. Used by several threads."""

    def __init__(self, say: Say, parts: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._parts, self._clock = say, parts, clock
        self._done = self._bytes = 0
        self._begun = self._told = clock()
        self._lock = Lock()

    def count(self, worked_bytes: int) -> None:
        """So many more bytes were worked through."""
        self._add(worked_bytes, 0)

    def end_part(self) -> None:
        """One more part is done."""
        self._add(0, 1)

    def _add(self, worked_bytes: int, parts: int) -> None:
        with self._lock:
            self._bytes += worked_bytes
            self._done += parts
            now = self._clock()
            if now - self._told < EVERY_SECONDS or self._done == self._parts:
                return
            self._told = now
            line = self._line(now - self._begun)
        self._say(line)

    def _line(self, seconds: float) -> str:
        """The time left is there as soon as a part is done: parts are about as large as each other."""
        megabytes = self._bytes / 1e6
        line = f"{self._done:,} of {self._parts:,} parts, {megabytes:,.0f} MB at {megabytes / seconds:,.1f} MB/s"
        if not self._done:
            return line
        return f"{line}, about {_duration(seconds * (self._parts - self._done) / self._done)} left"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
