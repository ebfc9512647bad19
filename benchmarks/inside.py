"""Runs inside the process of a contender: reads its job, times its phases, reports.

Guarantees that both sides are timed by the same code. Imports the standard library alone, since it runs in the
environments of the peers too.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any


def cpu_seconds() -> float:
    """CPU-seconds (user and system) of this process so far, with all its threads and every child it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


class Stopwatch:
    """Adds up CPU-seconds by phase, and the wall-clock seconds of them all."""

    def __init__(self) -> None:
        self.cpu: dict[str, float] = {}
        self.wall = 0.0

    def add(self, phase: str, cpu: float) -> None:
        """Add CPU-seconds to a phase."""
        self.cpu[phase] = self.cpu.get(phase, 0.0) + cpu

    @contextmanager
    def phase(self, name: str) -> Generator[None]:
        """Time a phase. Phases do not nest."""
        cpu, wall = cpu_seconds(), time.perf_counter()
        yield
        self.add(name, cpu_seconds() - cpu)
        self.wall += time.perf_counter() - wall

    def report(self) -> dict[str, Any]:
        """`cpu` by phase, and `wall`."""
        return {"cpu": self.cpu, "wall": self.wall}


def contend(run: Callable[[Mapping[str, Any]], Mapping[str, Any]], packages: Sequence[str]) -> None:
    """Run a job, given as JSON in the first argument; its report becomes the last line of stdout.

    `packages` are those whose versions explain the timings.
    """
    report = run(json.loads(sys.argv[1]))
    versions = {name: version(name) for name in packages}
    print(json.dumps({**report, "versions": versions}), flush=True)
