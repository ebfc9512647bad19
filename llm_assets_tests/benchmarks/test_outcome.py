from __future__ import annotations

import numpy as np

from benchmarks.outcome import ChainOutcome, compare, tokens_digest


def test_every_difference_is_counted_by_its_reason() -> None:
    ours = ChainOutcome({"a": "1", "b": "2", "c": "3", "d": "4"}, {"e": "too_short"})
    theirs = ChainOutcome({"a": "1", "b": "other", "e": "5"}, {"c": "alpha"})
    assert compare(ours, theirs, 6) == [
        "of 6 documents llm_assets kept 4, the peer 3, both 2",
        "1 of these 2 have the same token ids on both sides",
        "the peer rejected 2 that the other kept: 1 `alpha`, 1 `copy`",
        "llm_assets rejected 1 that the other kept: 1 `too_short`",
    ]


def test_full_agreement_has_no_differences() -> None:
    outcome = ChainOutcome({"a": "1", "b": "2"}, {"c": "alpha"})
    assert len(compare(outcome, outcome, 3)) == 2


def test_digest_is_of_the_ids_and_not_of_their_width() -> None:
    ids = np.array([1, 2, 50_256], np.uint16)
    assert tokens_digest(ids) == tokens_digest(ids.astype(np.uint32))
    assert tokens_digest(ids) != tokens_digest(ids[::-1])
    assert tokens_digest(ids[:0]) != tokens_digest(ids)
