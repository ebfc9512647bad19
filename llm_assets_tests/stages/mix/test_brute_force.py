"""What a mixture promises, counted row by row in plain Python, over random recipes, phases and chains of continuations.

The arithmetic under test is only asked for its rows: shares, laps and what is left are worked out here.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import pytest

from llm_assets.stages.mix.plan import Available, MixParameters, MixturePlan, consumed_before, plan_mixture

TRIALS = 1_000 if os.environ.get("LLM_ASSETS_TORTURE") == "full" else 100
NAMES = ("books", "code", "tiny", "web")
Recipe = dict[str, object]
Parts = dict[str, Fraction]


@dataclass
class Laps:
    """What is left of a source's lap: a row may be used only while it is, and rows that are new join it."""

    rows: set[int]
    left: set[int] = field(default_factory=set)
    uses: Counter[int] = field(default_factory=Counter)

    def use(self, row: int) -> None:
        if not self.left:
            self.left = set(self.rows)
        assert row in self.left, f"row {row} comes twice in a lap, or may not be used"
        self.left.remove(row)
        self.uses[row] += 1

    def grow(self, rows: set[int]) -> None:
        if self.left:
            self.left |= rows - self.rows
        self.rows = rows


def random_shares(random: random.Random, sizes: dict[str, int]) -> tuple[Recipe, Parts]:
    """A part of a recipe that says who gives how much, and what that comes to."""
    names = random.sample(NAMES, random.randint(1, len(NAMES)))
    if random.random() < 0.3:
        total = sum(sizes[name] for name in names)
        return {"sources": names}, {name: Fraction(sizes[name], total) for name in names}
    texts = {name: random.choice(["0.05", "0.3", "1", "2.5", "7", "0.0625"]) for name in names}
    total = sum(map(Fraction, texts.values()))
    return {"shares": {n: float(t) for n, t in texts.items()}}, {n: Fraction(t) / total for n, t in texts.items()}


def random_recipe(random: random.Random, sizes: dict[str, int]) -> tuple[Recipe, list[tuple[int, Parts]]]:
    """A recipe with phases of so many rows, and their parts."""
    phases, expected = list[Recipe](), list[tuple[int, Parts]]()
    for number in range(random.randint(1, 3)):
        given, parts = random_shares(random, sizes)
        rows = random.randint(1, 120)
        phases.append({"name": f"phase-{number}", "rows": rows, **given})
        expected.append((rows, parts))
    return {"phases": phases, "max_repetitions": 1_000}, expected


def rows_of(plan: MixturePlan, random: random.Random) -> list[tuple[str, int]]:
    """All rows, asked for in pieces of random length."""
    found, at = list[tuple[str, int]](), 0
    while at < plan.total_rows:
        last = min(plan.total_rows, at + random.randint(1, 90))
        sources, rows = plan.rows_at(at, last)
        found += [(plan.names[source], row) for source, row in zip(sources.tolist(), rows.tolist(), strict=True)]
        at = last
    return found


def assert_shares_at_every_prefix(rows: list[tuple[str, int]], expected: list[tuple[int, Parts]]) -> None:
    remaining: Iterator[tuple[str, int]] = iter(rows)
    for length, parts in expected:
        given = dict.fromkeys(parts, 0)
        for position in range(1, length + 1):
            given[next(remaining)[0]] += 1
            for name, part in parts.items():
                assert abs(given[name] - part * position) < 1, (name, position, given, parts)
    assert next(remaining, None) is None


@pytest.mark.torture
def test_shares_and_repetitions_of_random_recipes() -> None:
    for trial in range(TRIALS):
        chance = random.Random(trial)
        held = {name: chance.randint(0, 2) for name in NAMES}
        sizes = {name: chance.choice([1, 2, 3, 17, 40, 255, 256, 257]) for name in NAMES}
        recipe, expected = random_recipe(chance, sizes)
        there = {name: Available(sizes[name] + held[name], 1, held[name]) for name in NAMES}
        plan = plan_mixture(there, MixParameters.model_validate({**recipe, "seed": trial}))
        rows = rows_of(plan, chance)
        assert_shares_at_every_prefix(rows, expected)
        for source in plan.sources:
            kept_back = source.stream.held_out_rows(0, held[source.name]).tolist()
            laps = Laps({*range(sizes[source.name] + held[source.name])} - {*kept_back})
            for name, row in rows:
                if name == source.name:
                    laps.use(row)
            repetitions = Fraction(sum(laps.uses.values()), sizes[source.name])
            low, high = repetitions.__floor__(), repetitions.__ceil__()
            assert all(low <= laps.uses[row] <= high for row in laps.rows)


@pytest.mark.torture
def test_chains_of_continuations_repeat_nothing_and_lose_nothing() -> None:
    for trial in range(TRIALS):
        chance = random.Random(-1 - trial)
        held = {name: chance.randint(0, 2) for name in NAMES}
        sizes = {name: chance.randint(1, 60) for name in NAMES}
        laps = dict[str, Laps]()
        consumed = None
        for version in range(chance.randint(2, 4)):
            recipe, expected = random_recipe(chance, sizes)
            fields = {"continues": "chain@v1", "from_row": 0} if version else {"seed": trial}
            there = {name: Available(sizes[name] + held[name], 1, held[name]) for name in NAMES}
            plan = plan_mixture(there, MixParameters.model_validate({**recipe, **fields}), consumed)
            rows = rows_of(plan, chance)
            assert_shares_at_every_prefix(rows, expected)
            for source in plan.sources:
                kept_back = source.stream.held_out_rows(0, held[source.name]).tolist()
                usable = {*range(source.stream.rows)} - {*kept_back}
                laps.setdefault(source.name, Laps(usable)).grow(usable)
            stop = chance.choice([0, 1, len(rows), chance.randint(0, len(rows))])
            for name, row in rows[:stop]:
                laps[name].use(row)
            consumed = consumed_before(plan.as_dict(), stop)
            for name, each in laps.items():
                assert consumed[name].position == sum(each.uses.values())
            if chance.random() < 0.5:
                sizes = {name: size + chance.choice([0, 0, 1, 30]) for name, size in sizes.items()}
