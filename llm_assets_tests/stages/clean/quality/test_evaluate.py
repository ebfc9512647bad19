from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.stages.clean.quality.evaluate import Evaluation

scores = st.lists(st.sampled_from([0.0, 0.1, 0.49, 0.5, 0.7, 1.0]) | st.floats(0, 1), max_size=12)


@given(good=scores, ordinary=scores)
def test_measures_are_what_they_say(good: list[float], ordinary: list[float]) -> None:
    """Against counting one by one."""
    found = Evaluation(np.array(good, np.float64), np.array(ordinary, np.float64))
    guesses = [(True, score >= 0.5) for score in good] + [(False, score >= 0.5) for score in ordinary]
    counts = {(is_good, taken): guesses.count((is_good, taken)) for is_good in (True, False) for taken in (True, False)}
    taken = counts[True, True] + counts[False, True]
    pairs = [(g > o) + (g == o) / 2 for g in good for o in ordinary]
    assert found.as_dict() == {
        "accuracy": pytest.approx(sum(a == b for a, b in guesses) / len(guesses) if guesses else 0),
        "auc": pytest.approx(sum(pairs) / len(pairs) if pairs else 0),
        "precision": pytest.approx(counts[True, True] / taken if taken else 0),
        "recall": pytest.approx(counts[True, True] / len(good) if good else 0),
        "good_taken_for_good": counts[True, True],
        "good_taken_for_ordinary": counts[True, False],
        "ordinary_taken_for_good": counts[False, True],
        "ordinary_taken_for_ordinary": counts[False, False],
    }
