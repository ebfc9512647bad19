"""Verdicts: a threshold itself passes, every broken rule is told, and the first one counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.stages.clean.judge import REASONS_TYPE, judge
from llm_assets.stages.clean.rules import Bound, Rule

NAMES = ["words", "ratio"]
values = st.sampled_from([0.0, 1.0, 2.0, 3.0])
rule_lists = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(Bound), values), max_size=4)


def struct(rows: list[tuple[float, float]]) -> pa.StructArray:
    words = pa.array([int(row[0]) for row in rows], pa.int64())
    return pa.StructArray.from_arrays([words, pa.array([row[1] for row in rows], pa.float64())], NAMES)


@given(st.lists(st.tuples(values, values), max_size=6), rule_lists)
def test_verdicts_equal_a_plain_loop(rows: list[tuple[float, float]], limits: list[tuple[str, Bound, float]]) -> None:
    rules = [Rule(f"rule-{number}", *limit) for number, limit in enumerate(limits)]
    verdicts = judge(struct(rows), rules)

    wanted: list[list[dict[str, Any]]] = []
    for row in rows:
        broken = []
        for rule in rules:
            value = row[NAMES.index(rule.statistic)]
            if value < rule.threshold if rule.bound is Bound.AT_LEAST else value > rule.threshold:
                broken.append({"rule": rule.name, "value": value, "threshold": rule.threshold})
        wanted.append(broken)

    assert verdicts.reasons().to_pylist() == wanted
    assert verdicts.reasons().type == REASONS_TYPE
    assert verdicts.kept.tolist() == [not broken for broken in wanted]
    firsts = [broken[0]["rule"] if broken else None for broken in wanted]
    dropped_by = verdicts.dropped_by()
    assert list(dropped_by) == [rule.name for rule in rules]
    assert all(dropped_by[rule.name].tolist() == [first == rule.name for first in firsts] for rule in rules)


@pytest.mark.parametrize(
    ("bound", "passes"),
    [(Bound.AT_LEAST, [False, True, True]), (Bound.AT_MOST, [True, True, False])],
)
def test_the_threshold_itself_passes(bound: Bound, passes: list[bool]) -> None:
    around = [np.nextafter(0.3, 0), 0.3, np.nextafter(0.3, 1)]
    statistics = struct([(0, value) for value in around])
    assert judge(statistics, [Rule("r", "ratio", bound, 0.3)]).kept.tolist() == passes


def test_sliced_statistics() -> None:
    statistics = struct([(0, 0), (1, 1), (2, 2), (3, 3)]).slice(1, 2)
    assert judge(statistics, [Rule("r", "words", Bound.AT_LEAST, 2)]).values.tolist() == [[1.0], [2.0]]


def test_unknown_statistic() -> None:
    with pytest.raises(KeyError, match="sentiment"):
        judge(struct([(0, 0)]), [Rule("r", "sentiment", Bound.AT_LEAST, 0)])


@pytest.mark.parametrize(
    "statistics",
    [
        pa.array([{"words": None}, {"words": 1}], pa.struct([("words", pa.int64())])),
        pa.array([None, {"words": 1}], pa.struct([("words", pa.int64())])),
    ],
)
def test_missing_statistics_are_no_pass(statistics: pa.StructArray) -> None:
    with pytest.raises(ValueError, match="without statistics"):
        judge(statistics, [Rule("r", "words", Bound.AT_MOST, 2)])
