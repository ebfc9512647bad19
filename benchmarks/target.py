"""The contract of a target: it measures, and returns what it found; its module lives in `targets/`.

It fails with BenchmarkError where its data or a peer is absent, and times nothing but contenders in turns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.result import Result


@dataclass(frozen=True)
class Options:
    """Options of the user: rounds to measure, and the fraction of a target's corpus (its own, where None)."""

    rounds: int = 3
    fraction: float | None = None


@dataclass(frozen=True)
class Target:
    """A comparison by name."""

    name: str
    summary: str
    measure: Callable[[Options], Result]
