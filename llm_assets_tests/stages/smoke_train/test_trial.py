"""Which rows of a validation set a model is tried on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.stages.smoke_train.tiny_model import Trial
from llm_assets.stages.smoke_train.trial import Chosen, by_source, rows_to_try

COUNTS = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 60), max_size=8)


def ranges(counts: Mapping[str, int]) -> dict[str, range]:
    """One after the other."""
    first, found = 0, {}
    for source, count in counts.items():
        found[source] = range(first, first + count)
        first += count
    return found


@given(counts=COUNTS, at_most=st.integers(0, 300))
def test_every_source_gives_as_many_rows_or_all_it_has(counts: Mapping[str, int], at_most: int) -> None:
    chosen = rows_to_try(ranges(counts), at_most)
    part = max(part for part in range(61) if sum(min(part, count) for count in counts.values()) <= at_most)
    wanted = {source: min(count, max(1, part)) for source, count in counts.items() if count and at_most}
    assert {source: len(rows) for source, rows in chosen.items()} == wanted


@given(counts=COUNTS, at_most=st.integers(1, 300))
def test_they_are_evenly_spread_over_its_rows(counts: Mapping[str, int], at_most: int) -> None:
    there = ranges(counts)
    for source, rows in rows_to_try(there, at_most).items():
        assert rows[0] == there[source].start and rows[-1] in there[source]
        steps = np.diff([*rows, there[source].stop])
        assert steps.min() >= 1 and steps.max() - steps.min() <= 1


def test_an_example() -> None:
    rows = rows_to_try({"few": range(2), "none": range(2, 2), "many": range(2, 32)}, 8)
    assert {source: each.tolist() for source, each in rows.items()} == {"few": [0, 1], "many": [2, 7, 12, 17, 22, 27]}


def test_means_are_of_the_rows_of_each_source() -> None:
    chosen = Chosen(None, {"a": np.array([0, 4]), "b": np.array([9]), "c": np.array([11])})
    assert chosen.rows.tolist() == [0, 4, 9, 11]
    nats = np.log(2) * np.array([10.0, 20.0, 7.0, np.inf])
    found = by_source(chosen, Trial(nats, np.array([4, 6, 0, 5]), np.array([8, 7, 0, 9])), bytes_known=True)
    assert found == {
        "a": {"rows": 2, "tokens": 10, "bits_per_token": 3.0, "bits_per_byte": 2.0},
        "b": {"rows": 1, "tokens": 0, "bits_per_token": None, "bits_per_byte": None},
        "c": {"rows": 1, "tokens": 5, "bits_per_token": None, "bits_per_byte": None},
    }
