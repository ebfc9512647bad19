"""Profiles against plain counting; the same population raises no alarm, another one does."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.contract.stage import Disposition
from llm_assets.stages.clean.columns import FINDINGS
from llm_assets.stages.clean.measure import profile as module
from llm_assets.stages.clean.measure.profile import Profile, language_shift, outliers, profile, statistics_shifts
from llm_assets.stages.clean.parameters import CleanParameters
from llm_assets.stages.clean.stage import CleanStage
from llm_assets_tests.stages.clean.odd_text import odd_texts, raw_batch

TEXTS = ["write to a@b.com", "the quick brown fox jumps over the lazy dog", "10.1.2.3 x@y.org", "", "Où est le chat ?"]


def findings(texts: list[str], parameters: CleanParameters | None = None) -> list[pa.RecordBatch]:
    outputs = CleanStage(parameters or CleanParameters()).process([raw_batch(texts)])
    names = [each.name for each in FINDINGS]
    return [output.rows[each].select(names) for output in outputs for each in (Disposition.KEPT, Disposition.REJECTED)]


def of(**numbers: list[float]) -> Profile:
    arrays = {name: np.array(values, np.float64) for name, values in numbers.items()}
    return Profile(len(next(iter(arrays.values()))), 0, {}, arrays)


def speaking(**languages: int) -> Profile:
    return Profile(sum(languages.values()), 0, languages, {})


def test_a_profile_counts_documents() -> None:
    found = profile(findings(TEXTS), len(TEXTS))
    assert (found.documents, found.with_pii) == (5, 2)
    assert sum(found.languages.values()) == 5 and found.languages["und"] == 1 and found.languages["fr"] > 0
    assert sorted(found.numbers["characters"]) == sorted(map(len, TEXTS))
    assert sorted(found.numbers["pii.email"]) == [0, 0, 0, 1, 1]


def test_what_was_not_looked_at_is_not_there() -> None:
    found = profile(findings(TEXTS, CleanParameters(language=None, pii=None)), len(TEXTS))
    assert (found.documents, found.with_pii, dict(found.languages)) == (5, 0, {})
    assert not any(name.startswith(("pii", "language")) for name in found.numbers)


def test_of_nothing() -> None:
    empty = profile([], 0)
    assert empty.documents == 0 and statistics_shifts(empty, empty) == {}
    assert not language_shift(empty, empty).over(0)


@given(odd_texts, st.integers(1, 4))
def test_a_sample_is_evenly_spread_and_bounded(texts: list[str], most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_DOCUMENTS", most)
        batches = [piece for batch in findings(texts) for piece in (batch.slice(0, 1), batch.slice(1))]
        found = profile(batches, len(texts))
    lengths = [row["statistics"]["characters"] for batch in batches for row in batch.to_pylist()]
    every = max(1, -(-len(texts) // most))
    assert found.documents == len(texts)
    assert found.numbers.get("characters", np.array([])).tolist() == lengths[::every]
    assert len(lengths[::every]) <= most


def psi(before: list[int], after: list[int]) -> float:
    shares = [[(n + 0.5) / (sum(side) + len(side) / 2) for n in side] for side in (before, after)]
    return float(sum((a - b) * np.log(a / b) for b, a in zip(*shares, strict=True)))


def test_the_index_of_a_language_mix_is_the_published_formula() -> None:
    before, after = speaking(en=900, fr=90, de=10), speaking(en=500, fr=490, de=10)
    assert language_shift(before, after).index == pytest.approx(psi([10, 900, 90], [10, 500, 490]))
    assert language_shift(before, after).over(0.25)
    assert not language_shift(before, speaking(en=890, fr=101, de=9)).over(0.05)


def test_rare_languages_are_one_category() -> None:
    rare = {f"x{n}": 1 for n in range(5)}
    other = {f"y{n}": 1 for n in range(5)}
    shift = language_shift(speaking(en=1000, **rare), speaking(en=1000, **other))
    assert shift.index == pytest.approx(0) and not shift.over(0)


@given(st.integers(0, 2**32 - 1), st.sampled_from([20, 200, 5000]), st.sampled_from([20, 200, 5000]))
def test_samples_of_one_population_do_not_shift(seed: int, before: int, after: int) -> None:
    random = np.random.default_rng(seed)
    kinds = {"normal": random.normal, "mostly zero": lambda size: random.random(size) * (random.random(size) < 0.1)}
    for draw in kinds.values():
        profiles = of(x=list(draw(size=before))), of(x=list(draw(size=after)))
        assert not statistics_shifts(*profiles)["x"].over(0.1)
        assert not outliers(*profiles)["x"].over(0.02)


@pytest.mark.parametrize("constant", [0.0, 3.0])
def test_a_number_that_was_constant(constant: float) -> None:
    before = of(x=[constant] * 1000)
    assert not statistics_shifts(before, of(x=[constant] * 500))["x"].over(0)
    assert statistics_shifts(before, of(x=[constant] * 250 + [constant + 1] * 250))["x"].over(0.25)


def test_another_population_shifts() -> None:
    random = np.random.default_rng(0)
    before, after = of(x=list(random.normal(size=2000))), of(x=list(random.normal(1, size=2000)))
    edges = np.quantile(before.numbers["x"], np.arange(1, 10) / 10, method="lower")
    counts = [Counter(np.searchsorted(edges, each.numbers["x"]).tolist()) for each in (before, after)]
    expected = psi(*([count[place] for place in range(10)] for count in counts))
    assert statistics_shifts(before, after)["x"].index == pytest.approx(expected)
    assert statistics_shifts(before, after)["x"].over(0.25)


def test_outliers_lie_beyond_what_was_seen_before() -> None:
    before = of(x=[float(n) for n in range(10_000)])
    after = of(x=[5.0 * n for n in range(2000)] + [-1.0] * 150 + [20_000.0] * 50)
    found = outliers(before, after)["x"]
    brute = sum(value < 9.999 or value > 9989.001 for value in after.numbers["x"])
    assert (found.outside, found.documents) == (brute, 2200)
    assert found.over(0.02) and not found.over(0.2)
