from __future__ import annotations

import json
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.result import Better, Machine, Row
from llm_assets_tests.benchmarks.made_up import made_up

FIGURES = st.floats(min_value=1e-6, max_value=1e9)
ROUNDS = st.lists(st.tuples(FIGURES, FIGURES), min_size=1, max_size=7)


def test_ratio_is_of_medians_and_its_range_of_rounds() -> None:
    row = Row("speed", "MB/s", "peer", (10.0, 30.0, 20.0), (2.0, 2.0, 4.0))
    assert row.ratio == 20.0 / 2.0
    assert row.ratio_range == (5.0, 15.0)


@given(ROUNDS)
def test_over_one_means_that_this_project_does_better(rounds: list[tuple[float, float]]) -> None:
    ours, theirs = zip(*rounds, strict=True)
    faster = Row("speed", "MB/s", "peer", ours, theirs)
    shorter = Row("time", "ms", "peer", ours, theirs, Better.LOWER)
    assert (faster.ratio > 1) == (median(ours) > median(theirs))
    assert (shorter.ratio > 1) == (median(ours) < median(theirs))
    low, high = faster.ratio_range
    assert low <= high


@pytest.mark.parametrize(
    ("ours", "theirs"), [((), ()), ((1.0,), ()), ((1.0, 2.0), (1.0,)), ((0.0,), (1.0,)), ((1.0,), (-1.0,))]
)
def test_what_was_not_measured_in_turns_is_refused(ours: tuple[float, ...], theirs: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="speed"):
        Row("speed", "MB/s", "peer", ours, theirs)


def test_line_has_the_headline_and_every_row() -> None:
    second = Row("start", "ms", "other 2.0", (4.0,), (2.0,), Better.LOWER)
    line = json.loads(json.dumps(made_up("chain", Row("speed", "MB/s", "peer 1.0", (8.0,), (2.0,)), second).line()))
    assert {name: line[name] for name in ("target", "ratio", "against", "ours", "theirs", "rounds", "measured")} == {
        "target": "chain",
        "ratio": 4.0,
        "against": "peer 1.0",
        "ours": 8.0,
        "theirs": 2.0,
        "rounds": 1,
        "measured": "2026-11-21",
    }
    assert [(row["figure"], row["ratio"]) for row in line["rows"]] == [("speed", 4.0), ("start", 0.5)]


def test_machine_says_what_it_is() -> None:
    machine = Machine.here()
    assert machine.cpu
    assert machine.cores >= 1
    assert machine.memory_gib > 0
