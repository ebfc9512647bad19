"""Whose turn it is: within one row of the share at every prefix, exactly, from anywhere."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.stages.mix import source_schedule as module
from llm_assets.stages.mix.source_schedule import MAX_PERIOD, SourceSchedule, whole_weights

weights_lists = st.lists(st.integers(0, 60) | st.integers(0, 3), min_size=1, max_size=9).filter(any)
huge_weights = st.lists(st.integers(1, MAX_PERIOD // 8), min_size=2, max_size=8)


def reduced(weights: list[int]) -> list[int]:
    return whole_weights([Fraction(weight) for weight in weights])


def obvious_turns(weights: list[int], positions: int) -> list[int]:
    """Earliest deadline first in fractions, looking at every source at every position."""
    total = sum(weights)
    given_rows = [0] * len(weights)
    turns: list[int] = []
    for position in range(positions):
        candidates: list[tuple[int, int]] = []
        for source, weight in enumerate(weights):
            if weight and math.floor(Fraction(given_rows[source] * total, weight)) <= position:
                candidates.append((math.ceil(Fraction((given_rows[source] + 1) * total, weight)), source))
        turns.append(min(candidates)[1])
        given_rows[turns[-1]] += 1
    return turns


def assert_within_a_row(weights: list[int], turns: list[int]) -> None:
    total = sum(weights)
    counts = [0] * len(weights)
    for position, source in enumerate(turns, start=1):
        counts[source] += 1
        for weight, count in zip(weights, counts, strict=True):
            # floor(p · t) ≤ count ≤ ceil(p · t), in whole numbers
            assert position * weight // total <= count <= -(-position * weight // total)


@settings(deadline=None)
@given(weights_lists)
def test_every_prefix_is_within_a_row_of_the_shares(weights: list[int]) -> None:
    weights = reduced(weights)
    positions = 2 * sum(weights) + 3
    turns = SourceSchedule.make(weights, positions).turns(0, positions)[0].tolist()
    assert_within_a_row(weights, turns)
    assert turns == obvious_turns(weights, positions)


@settings(deadline=None, max_examples=40)
@given(huge_weights)
def test_every_prefix_is_within_a_row_of_shares_without_a_small_denominator(weights: list[int]) -> None:
    weights = reduced(weights)
    turns = SourceSchedule.make(weights, 400).turns(0, 400)[0].tolist()
    assert_within_a_row(weights, turns)
    assert turns == obvious_turns(weights, 400)


def test_a_thousand_recipes_at_a_thousand_positions() -> None:
    generator = np.random.default_rng(4)
    for _ in range(1_000):
        weights = reduced(generator.integers(1, 10 ** generator.integers(1, 8), generator.integers(1, 12)).tolist())
        turns = SourceSchedule.make(weights, 1_000).turns(0, 1_000)[0]
        counts = np.cumsum(turns[:, None] == np.arange(len(weights)), axis=0)
        exact = np.arange(1, 1_001)[:, None] * np.array(weights)
        total = sum(weights)
        assert np.all(exact // total <= counts) and np.all(counts <= -(-exact // total))


def test_many_small_sources_beside_a_large_one() -> None:
    weights = [900, *[1] * 100]
    turns = SourceSchedule.make(weights, 2_000).turns(0, 2_000)[0].tolist()
    assert_within_a_row(weights, turns)


@settings(deadline=None)
@given(weights_lists, st.lists(st.integers(0, 10**15), min_size=1, max_size=5), st.integers(0, 20))
def test_the_pattern_repeats(weights: list[int], starts: list[int], length: int) -> None:
    weights = reduced(weights)
    schedule = SourceSchedule.make(weights, 10**15 + 100)
    for start in starts:
        turns = schedule.turns(start, start + length)[0]
        rest = start % schedule.period
        assert np.array_equal(turns, schedule.turns(rest, rest + length)[0])
        counts = schedule.counts(start)
        assert np.array_equal(counts - start // schedule.period * schedule.weights, schedule.counts(rest))
        assert counts.sum() == start
        assert np.array_equal(schedule.turns(start, start + length)[1], counts)


def test_any_place_is_reached_from_the_nearest_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STRIDE", 64)
    weights = reduced([512_345_679, 209_876_543, 100_000_007])
    schedule = SourceSchedule.make(weights, 1_000)
    assert schedule.noted.shape == (1_000 // 64 + 1, 3)
    whole = np.array(obvious_turns(weights, 1_000))
    for first in range(0, 1_001, 13):
        last = min(1_000, first + 100)
        assert np.array_equal(schedule.turns(first, last)[0], whole[first:last])
        assert np.array_equal(schedule.counts(first), np.bincount(whole[:first], minlength=3))
        assert np.array_equal(schedule.turns(first, last)[1], schedule.counts(first))


@pytest.mark.parametrize("period", [64, 127, 128, 129])
def test_notes_and_periods_do_not_get_in_each_others_way(monkeypatch: pytest.MonkeyPatch, period: int) -> None:
    monkeypatch.setattr(module, "STRIDE", 64)
    weights = [1, period - 1]
    whole = np.array(obvious_turns(weights, 300))
    for positions in (63, 64, 65, 127, 128, 129, 300):
        schedule = SourceSchedule.make(weights, positions)
        for first in (0, 1, 62, 63):
            assert np.array_equal(schedule.turns(first, positions)[0], whole[first:positions])
        assert schedule.counts(positions).tolist() == np.bincount(whole[:positions], minlength=2).tolist()


@pytest.mark.parametrize("weights", [[5, 3, 1], [512_345_679, 209_876_543, 100_000_007], [1, 299], [1, 255], [1, 256]])
@pytest.mark.parametrize("positions", [0, 1, 63, 64, 255, 256, 257, 300, 512, 1_000])
def test_what_is_stored_saves_the_walk(monkeypatch: pytest.MonkeyPatch, weights: list[int], positions: int) -> None:
    monkeypatch.setattr(module, "STRIDE", 64)
    monkeypatch.setattr(module, "STORED_STRIDE", 256)
    made = SourceSchedule.make(weights, positions)
    assert made.taken.tolist() == made.counts(positions).tolist()
    stored = json.loads(json.dumps(made.stored()))
    assert len(stored["noted"]) == min(positions, sum(weights)) // 256 + 1
    restored = SourceSchedule.restored(weights, positions, **stored)
    assert restored.taken.tolist() == made.taken.tolist() and restored.stored() == stored
    for first in range(0, positions + 1, 37):
        assert restored.counts(first).tolist() == made.counts(first).tolist()
        assert np.array_equal(restored.turns(first, positions)[0], made.turns(first, positions)[0])


def test_memory_does_not_grow_with_the_positions_of_a_short_period() -> None:
    assert SourceSchedule.make([3, 7], 10**15).noted.size == 2


def test_positions_beyond_the_end() -> None:
    schedule = SourceSchedule.make([1, 2], 10)
    for first, last in ((-1, 3), (0, 11), (5, 4)):
        with pytest.raises(IndexError, match="schedule of 10"):
            schedule.turns(first, last)[0]
    for position in (-1, 11):
        with pytest.raises(IndexError, match="schedule of 10"):
            schedule.counts(position)


def test_too_many_sources() -> None:
    with pytest.raises(ValueError, match="32768 sources"):
        SourceSchedule.make([1] * 2**15, 10)


@settings(deadline=None)
@given(st.lists(st.fractions(0, 10, max_denominator=50), min_size=1, max_size=6).filter(any))
def test_weights_are_the_smallest_in_proportion(shares: list[Fraction]) -> None:
    weights = whole_weights(shares)
    total = sum(shares)
    assert [Fraction(weight, sum(weights)) for weight in weights] == [share / total for share in shares]
    assert math.gcd(*weights) == 1


def test_shares_that_cannot_be_kept() -> None:
    for shares in ([Fraction(0)], [Fraction(1), Fraction(-1, 2)], []):
        with pytest.raises(ValueError, match="0 or more"):
            whole_weights(shares)
    with pytest.raises(ValueError, match="fewer digits"):
        whole_weights([Fraction(1), Fraction(1, MAX_PERIOD)])
    assert sum(whole_weights([Fraction(1), Fraction(1, MAX_PERIOD - 1)])) == MAX_PERIOD
