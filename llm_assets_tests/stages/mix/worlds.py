"""Random recipes, and what they have to come to by the most obvious means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from llm_assets.stages.mix.plan import Available, MixParameters, MixturePlan

NAMES = ("books", "code", "web", "wiki")


def sizes(generator: np.random.Generator, least: int = 20, most: int = 80) -> dict[str, Available]:
    """Sources with some rows, a few of them held out."""
    found: dict[str, Available] = {}
    for name in NAMES:
        rows = int(generator.integers(least, most))
        found[name] = Available(rows, 100 * rows, int(generator.integers(0, 3)))
    return found


def recipe(generator: np.random.Generator, **fixed: object) -> MixParameters:
    """Shares or sizes, one phase or several, any length, repetitions."""
    fields: dict[str, Any] = {
        "seed": int(generator.integers(0, 2**62)),
        "max_repetitions": float(generator.choice([1.0, 1.5, 3.0])),
        **shares(generator),
    }
    if generator.random() < 0.7:
        fractions = np.diff([0, *np.sort(generator.choice(np.arange(1, 10), 2, replace=False)), 10]) / 10
        own = [shares(generator) if generator.random() < 0.8 else {} for _ in fractions]
        fields["phases"] = [
            {"name": f"p{n}", "fraction": round(float(part), 1), **own[n]} for n, part in enumerate(fractions)
        ]
    phases = fields.get("phases", [{}])
    if any("sources" in phase or ("shares" not in phase and "sources" in fields) for phase in phases):
        fields["temperature"] = float(generator.choice([0.5, 1.0, 2.0, 3.3]))
    return MixParameters.model_validate(fields | fixed)


def shares(generator: np.random.Generator) -> dict[str, object]:
    names = sorted(generator.choice(NAMES, generator.integers(1, 5), replace=False).tolist())
    if generator.random() < 0.3:
        return {"sources": names}
    return {"shares": {name: round(float(generator.uniform(0.1, 3)), int(generator.integers(1, 3))) for name in names}}


def obvious_turns(shares: Sequence[Fraction], positions: int) -> list[int]:
    """Earliest deadline first, looking at every source at every position, in whole numbers."""
    denominator = math.lcm(*(share.denominator for share in shares))
    weights = [int(share * denominator) for share in shares]
    total, given, turns = sum(weights), [0] * len(weights), list[int]()
    for position in range(positions):
        may = [s for s, weight in enumerate(weights) if weight and given[s] * total <= position * weight + weight - 1
               and given[s] * total // weight <= position]  # fmt: skip
        turns.append(min(may, key=lambda s: (-(-(given[s] + 1) * total // weights[s]), s)))
        given[turns[-1]] += 1
    return turns


def obvious_order(plan: MixturePlan) -> list[int]:
    """The source at each position: every phase by itself."""
    return [source for phase in plan.phases for source in obvious_turns(phase.shares, phase.rows)]


class Uses:
    """How often each row of a source was used: none again while another one was used less often.

    A row that comes late counts as used as often as those that were used least.
    """

    def __init__(self) -> None:
        self.times: dict[str, np.ndarray] = {}

    def grow(self, source: str, rows: int) -> None:
        before = self.times.get(source, np.empty(0, np.int64))
        least = int(before.min()) if len(before) else 0
        self.times[source] = np.concatenate([before, np.full(rows - len(before), least)])

    def never(self, source: str, rows: np.ndarray) -> None:
        """Rows that may not be used at all."""
        self.times[source][rows] = np.iinfo(np.int64).max

    def use(self, source: str, row: int) -> None:
        times = self.times[source]
        assert times[row] == times.min(), f"row {row} of {source} comes again before others came"
        times[row] += 1
