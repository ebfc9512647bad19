"""The result of a target: figures of both sides by round, their ratio, and the machine.

Guarantees that a ratio over 1 always means that this project does better, and that it is a ratio of medians.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from statistics import median
from typing import Any

import psutil


class Better(StrEnum):
    """Whether more of a figure or less of it is better."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True)
class Row:
    """One figure of this project and of one peer, in each round, both positive."""

    figure: str
    unit: str
    against: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    better: Better = Better.HIGHER

    def __post_init__(self) -> None:
        if not self.ours or len(self.ours) != len(self.theirs):
            raise ValueError(f"{self.figure}: {len(self.ours)} rounds against {len(self.theirs)}")
        if min(*self.ours, *self.theirs) <= 0:
            raise ValueError(f"{self.figure}: {self.ours} against {self.theirs}: every figure must be positive")

    @property
    def ratio(self) -> float:
        """How many times better the median of this project is than the peer's."""
        return self._ratio(median(self.ours), median(self.theirs))

    @property
    def ratio_range(self) -> tuple[float, float]:
        """The lowest and the highest ratio of a round."""
        ratios = [self._ratio(ours, theirs) for ours, theirs in zip(self.ours, self.theirs, strict=True)]
        return min(ratios), max(ratios)

    def _ratio(self, ours: float, theirs: float) -> float:
        return ours / theirs if self.better is Better.HIGHER else theirs / ours


@dataclass(frozen=True)
class Machine:
    """Where it was measured. `load` is the load average of the minute before: other work makes timings noisy."""

    cpu: str
    cores: int
    memory_gib: float
    load: float
    python: str

    @staticmethod
    def here() -> Machine:
        """This machine, now."""
        return Machine(
            _cpu_model(),
            os.cpu_count() or 1,
            round(psutil.virtual_memory().total / 2**30, 1),
            round(os.getloadavg()[0], 1),
            platform.python_version(),
        )

    def __str__(self) -> str:
        return (
            f"{self.cpu}, {self.cores} cores, {self.memory_gib} GiB, Python {self.python}; "
            f"load {self.load} before the first round"
        )


@dataclass(frozen=True)
class Result:
    """The result of a target. The first row is its headline."""

    target: str
    summary: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    versions: Mapping[str, str]
    machine: Machine
    measured: date

    @property
    def headline(self) -> Row:
        """The row that stands for the target."""
        return self.rows[0]

    def line(self) -> dict[str, Any]:
        """The result in a few fields, for a program: figures are medians, `rows` has them all."""
        return {
            "target": self.target,
            **_fields(self.headline),
            "rounds": len(self.headline.ours),
            "measured": self.measured.isoformat(),
            "rows": [_fields(row) for row in self.rows],
        }


def _fields(row: Row) -> dict[str, Any]:
    low, high = row.ratio_range
    return {
        "ratio": round(row.ratio, 3),
        "against": row.against,
        "figure": row.figure,
        "unit": row.unit,
        "ours": round(median(row.ours), 4),
        "theirs": round(median(row.theirs), 4),
        "ratio_low": round(low, 3),
        "ratio_high": round(high, 3),
    }


def today() -> date:
    """The date, in UTC."""
    return datetime.now(UTC).date()


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
