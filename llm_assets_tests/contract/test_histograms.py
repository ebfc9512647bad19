"""Histograms: every value is counted once, in the bin that it lies in, whether read at once or in batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.contract.histograms import BINS, Histogram, ValueRange

counts = st.lists(st.integers(0, 10**7), max_size=50)
numbers = st.one_of(counts, st.lists(st.floats(-5, 5), max_size=50))


@given(numbers, st.lists(st.floats(0, 100), max_size=2), st.integers(1, 7))
def test_every_value_is_in_its_bin(values: list[float], marks: list[float], step: int) -> None:
    batches = [np.array(values[start : start + step]) for start in range(0, len(values), step)]
    span = ValueRange()
    for batch in batches:
        span = span.including(batch)
    histogram = Histogram.empty(span, ["kept", "rejected"], {str(place): mark for place, mark in enumerate(marks)})
    for batch in batches:
        histogram.add("kept", batch)
    edges, found = histogram.edges.tolist(), histogram.counts["kept"].tolist()
    assert edges == sorted(edges) and sum(found) == len(values) and not histogram.counts["rejected"].any()
    if not values:
        assert edges == [0.0] and found == []
        return
    assert len(found) in (BINS, BINS + 1)
    for place, count in enumerate(found):
        last = place == len(found) - 1
        assert count == sum(
            edges[place] <= value < edges[place + 1] or (last and value == edges[-1]) for value in values
        )
    assert all(edges[0] <= mark <= edges[-1] for mark in marks)


def test_long_tails_have_bins_that_widen() -> None:
    words = Histogram.of(np.array([0, 3, 50, 100_000]))
    assert words.logarithmic and words.edges[:2].tolist() == [0, 3] and words.edges[-1] == 100_000
    assert words.counts[""][0] == 1
    fractions = Histogram.of(np.array([0.0, 0.001, 1.0]))
    assert not fractions.logarithmic and np.ptp(np.diff(fractions.edges)) < 1e-9


@pytest.mark.parametrize("value", [0.0, 5e-324, 1.0, -3e20, 1e300])
def test_numbers_that_hardly_differ_have_bins(value: float) -> None:
    histogram = Histogram.of(np.array([value, np.nextafter(value, np.inf)]))
    assert histogram.counts[""].sum() == 2 and (np.diff(histogram.edges) > 0).all()


def test_a_value_outside_the_span_is_refused() -> None:
    histogram = Histogram.empty(ValueRange().including(np.array([1, 2])), ["a"], {})
    with pytest.raises(ValueError, match="1 values lie outside of"):
        histogram.add("a", np.array([1, 3]))
