"""Findings: what a verdict follows from comes back from a table as it was written."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from llm_assets.contract.stage import Disposition
from llm_assets.stages.clean.columns import FINDINGS
from llm_assets.stages.clean.findings import numbers, score_column, scores_of, verdicts
from llm_assets.stages.clean.parameters import CleanParameters
from llm_assets.stages.clean.stage import CleanStage
from llm_assets_tests.stages.clean.odd_text import odd_texts, raw_batch

names = st.lists(st.text("ab.", min_size=1), unique=True, max_size=4)


@given(names, st.integers(0, 5), st.integers(0, 99))
def test_scores_read_back(names: list[str], documents: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = {name: random.random(documents) for name in names}
    column = score_column(documents, scores)
    assert len(column) == documents and column.null_count == 0
    read = scores_of(column)
    assert {name: values.tolist() for name, values in read.items()} == (
        {name: values.tolist() for name, values in scores.items()} if documents else {}
    )
    if documents > 2:
        assert {name: values.tolist() for name, values in scores_of(column.slice(1, 2)).items()} == {
            name: values[1:3].tolist() for name, values in scores.items()
        }


def test_rows_with_different_scores_are_refused() -> None:
    one, other = score_column(1, {"a": np.zeros(1)}), score_column(1, {"b": np.zeros(1)})
    with pytest.raises(ValueError, match="different scores"):
        scores_of(pa.concat_arrays([one, other]))
    with pytest.raises(ValueError, match="different scores"):
        scores_of(pa.concat_arrays([one, score_column(1, {})]))


def test_there_is_a_number_for_every_statistic_named() -> None:
    for parameters in (CleanParameters(), CleanParameters(pii=None), CleanParameters(language=None)):
        (output,) = CleanStage(parameters).process([raw_batch(["a text", "another"])])
        known = numbers(output.rows[Disposition.REJECTED])
        assert set(parameters.numbers) <= set(known.type.names)
        assert known.type.names[: len(parameters.numbers) - 10] == list(parameters.numbers)[:-10]


RULES = CleanParameters.model_validate(
    {
        "length": {"min_characters": 10},
        "language": {"allow": ["en", "und"], "min_confidence": 0.2},
        "pii": {"email": "drop", "ip": "flag"},
        "gopher_quality": None,
        "thresholds": {"entropy": {"min": 2.0}, "pii.ip": {"max": 1}},
    }
)


@given(odd_texts)
def test_the_verdict_on_stored_findings_is_that_of_the_stage(texts: list[str]) -> None:
    texts = [*texts, "mail a@b.com now, please", "10.1.2.3 8.8.8.8 9.9.9.9 is what the servers are called"]
    (output,) = CleanStage(RULES).process([raw_batch(texts)])
    for disposition in (Disposition.KEPT, Disposition.REJECTED):
        rows = output.rows[disposition]
        judged = verdicts(rows.select([each.name for each in FINDINGS]), RULES)
        assert judged.reasons().to_pylist() == rows["reasons"].to_pylist()
        assert set(judged.kept.tolist()) <= {disposition is Disposition.KEPT}


def test_rules_count_in_one_order() -> None:
    assert [rule.name for rule in RULES.rules] == [
        *["length.min_characters", "length.max_characters", "language.allow", "language.min_confidence", "pii.email"],
        *["thresholds.entropy.min", "thresholds.pii.ip.max"],
    ]


def test_a_threshold_needs_a_number_that_is_looked_at() -> None:
    CleanParameters.model_validate({"thresholds": {"quality.good": {"min": 0.5}}, "quality": [{"model": "good"}]})
    for wrong in ("quality.good", "sentiment", "blocklist.x", "pii.person"):
        with pytest.raises(ValidationError, match=f"no statistic '{wrong}'"):
            CleanParameters.model_validate({"thresholds": {wrong: {"min": 0.5}}})
    with pytest.raises(ValidationError, match="no statistic 'language_confidence'"):
        CleanParameters.model_validate({"thresholds": {"language_confidence": {"min": 0.5}}, "language": None})
