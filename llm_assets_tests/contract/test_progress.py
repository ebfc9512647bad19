"""Progress: seldom told, true when it is, and counted by many threads at once."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.contract.engine import LocalEngine
from llm_assets.contract.link import Work
from llm_assets.contract.progress import EVERY_SECONDS, Progress
from llm_assets_tests.worlds.world import World


@dataclass
class Watch:
    """A clock that is set by hand, and the lines with the time of each."""

    now: float = 0.0
    lines: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])

    def say(self, line: str) -> None:
        self.lines.append((self.now, line))

    def progress(self, parts: int) -> Progress:
        return Progress(self.say, parts, lambda: self.now)


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 10**9)), max_size=40))
def test_lines_are_seldom_and_true(steps: list[tuple[float, int]]) -> None:
    watch = Watch()
    progress = watch.progress(len(steps) + 1)
    total = 0
    for done, (seconds, worked) in enumerate(steps):
        watch.now += seconds
        before = len(watch.lines)
        total += worked
        progress.count(worked)
        for _, line in watch.lines[before:]:
            found = re.match(r"([\d,]+) of ([\d,]+) parts, ([\d,]+) MB at ([\d,.]+) MB/s", line)
            assert found is not None
            parts, of, megabytes, speed = (float(number.replace(",", "")) for number in found.groups())
            assert (parts, of) == (done, len(steps) + 1)
            assert abs(megabytes - total / 1e6) <= 0.5 + 1e-9
            assert abs(speed - total / 1e6 / watch.now) <= 0.05 + 1e-9
            assert ("left" in line) is (done > 0)
        progress.end_part()
    times = [0.0, *(at for at, _ in watch.lines)]
    assert all(later - earlier >= EVERY_SECONDS for earlier, later in pairwise(times))


def test_the_time_left_follows_from_the_parts_that_are_done() -> None:
    watch = Watch()
    progress = watch.progress(4)
    watch.now = 60.0
    progress.count(120_000_000)
    progress.end_part()
    watch.now = 7_200.0
    progress.count(1)
    assert [line for _, line in watch.lines] == [
        "0 of 4 parts, 120 MB at 2.0 MB/s",
        "1 of 4 parts, 120 MB at 0.0 MB/s, about 6 h 0 min left",
    ]


def test_work_that_is_soon_done_says_nothing() -> None:
    watch = Watch()
    progress = watch.progress(2)
    for _ in range(2):
        watch.now += 4.0
        progress.count(1_000)
        progress.end_part()
    assert watch.lines == []


def test_no_count_of_a_thread_is_lost() -> None:
    watch = Watch()
    progress = watch.progress(1_001)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: (progress.count(1_000_000), progress.end_part()), range(1_000)))
    watch.now = 100.0
    progress.count(0)
    assert watch.lines == [(100.0, "1,000 of 1,001 parts, 1,000 MB at 10.0 MB/s, about 0 s left")]


def test_a_link_that_takes_long_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_assets.contract.progress.EVERY_SECONDS", 0.0)
    world = World.below(tmp_path)
    world.land_small()
    lines: list[str] = []
    world.docs.lineage[0].make(Work(world.store, LocalEngine(1), "2026-02", lines.append)).discard()
    assert lines and all(re.match(r"\d of \d parts, \d+ MB at ", line) for line in lines)
