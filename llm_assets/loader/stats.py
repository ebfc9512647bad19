"""Counts of what a loader has delivered, and the time its consumer waited for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LoaderStats:
    """Counts of one rank. `str()` of it is a line for a log.

    `rows` and `tokens` (padding included) were delivered to this rank in `batches` batches; `waited` seconds were
    spent within the loader, of `elapsed` seconds between the first request for a batch and the last delivery.
    """

    batches: int
    rows: int
    tokens: int
    waited: float
    elapsed: float

    @property
    def tokens_per_second(self) -> float:
        """Tokens delivered per second of `elapsed`; 0 before the first batch."""
        return self.tokens / self.elapsed if self.elapsed > 0 else 0.0

    @property
    def waiting(self) -> float:
        """The share of `elapsed` that the consumer spent waiting, 0 to 1; 0 before the first batch."""
        return self.waited / self.elapsed if self.elapsed > 0 else 0.0

    def __str__(self) -> str:
        return (
            f"{self.rows:,} rows ({self.tokens:,} tokens) in {self.batches:,} batches, "
            f"{self.tokens_per_second:,.0f} tokens/s, "
            f"waited {self.waited:.3f} s of {self.elapsed:.3f} ({self.waiting:.1%})"
        )


class StatsCounter:
    """Accumulates a `LoaderStats`. Not thread-safe: only the consuming thread uses it."""

    def __init__(self) -> None:
        self._batches = self._rows = self._tokens = 0
        self._waited = 0.0
        self._first = self._last = 0.0

    def add(self, rows: int, tokens: int, asked: float, given: float) -> None:
        """Count a batch, with the times (seconds of a monotonic clock) at which it was asked for and delivered."""
        if not self._batches:
            self._first = asked
        self._batches += 1
        self._rows += rows
        self._tokens += tokens
        self._waited += given - asked
        self._last = given

    def stats(self) -> LoaderStats:
        """The counts so far."""
        return LoaderStats(self._batches, self._rows, self._tokens, self._waited, self._last - self._first)
