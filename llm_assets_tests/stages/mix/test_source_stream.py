"""Streams: every row once a lap, held-out ones never, growth without a repeat or a loss, and the way back."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.stages.mix.source_stream import Era, SourceStream
from llm_assets_tests.stages.mix.worlds import Uses

growths = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12)), max_size=4)


@st.composite
def streams(draw: st.DrawFn) -> SourceStream:
    rows = draw(st.integers(1, 25))
    stream = SourceStream.of("web", draw(st.integers(0, 2**63 - 1)), rows, draw(st.integers(0, rows - 1)))
    position = 0
    for later, more in draw(growths):
        position += later
        stream = stream.grown(position, stream.rows + more)
    return stream


@settings(deadline=None)
@given(streams())
def test_no_row_comes_again_before_all_others_and_new_ones_join_in(stream: SourceStream) -> None:
    uses, eras = Uses(), list(stream.eras)
    for position, row in enumerate(stream.rows_at(0, 150).tolist()):
        while eras and eras[0].start <= position:
            uses.grow("web", eras.pop(0).rows)
            uses.never("web", stream.held_out_rows(0, stream.held_out))
        uses.use("web", row)


@settings(deadline=None)
@given(streams(), st.integers(0, 120), st.integers(0, 40))
def test_the_way_back(stream: SourceStream, first: int, length: int) -> None:
    wanted = stream.rows_at(0, first + length)[first:]
    assert np.array_equal(stream.rows_at(first, first + length), wanted)
    found = np.full(length, -1)
    rows = np.arange(stream.rows)
    for used, positions in stream.positions_of(rows, first, first + length):
        assert np.all(found[positions - first] == -1)
        found[positions - first] = rows[used]
    assert np.array_equal(found, wanted)


@settings(deadline=None)
@given(streams(), st.integers(0, 200))
def test_repetitions_and_positions(stream: SourceStream, position: int) -> None:
    repetitions = stream.repetitions(position)
    assert stream.position_after(repetitions) == position
    assert stream.position_after(repetitions + Fraction(1, 10**6)) == position
    assert stream.lap_of(position) == repetitions.numerator // repetitions.denominator
    times = np.bincount(stream.rows_at(0, position), minlength=stream.rows)
    assert times.max(initial=0) <= -(-repetitions.numerator // repetitions.denominator)


@settings(deadline=None)
@given(streams())
def test_a_stream_is_what_it_was_written_as(stream: SourceStream) -> None:
    assert SourceStream.from_dict("web", stream.seed, stream.as_dict()) == stream


def test_without_growth_a_lap_is_a_permutation_and_each_is_another() -> None:
    stream = SourceStream.of("web", 7, 50)
    laps = stream.rows_at(0, 150).reshape(3, 50)
    assert np.all(np.sort(laps) == np.arange(50))
    assert len({lap.tobytes() for lap in laps}) == 3
    assert stream.position_after(Fraction(5, 2)) == 125


def test_what_is_held_out_does_not_depend_on_the_seed_and_more_holds_out_the_same() -> None:
    one, other, more = (
        SourceStream.of("web", 1, 99, 5),
        SourceStream.of("web", 2, 99, 5),
        SourceStream.of("web", 2, 99, 9),
    )
    assert one.held_out_rows(0, 5).tolist() == other.held_out_rows(0, 5).tolist() == more.held_out_rows(0, 5).tolist()
    assert one.rows_at(0, 94).tolist() != other.rows_at(0, 94).tolist()
    assert {*one.rows_at(0, 94).tolist(), *one.held_out_rows(0, 5).tolist()} == {*range(99)}


def test_before_it_grew_a_stream_is_what_it_was() -> None:
    before = SourceStream.of("web", 3, 20)
    after = before.grown(33, 45)
    assert np.array_equal(after.rows_at(0, 33), before.rows_at(0, 33))
    assert after.grown(33, 45) is after
    lap = after.rows_at(20, 65)
    assert sorted(lap.tolist()) == [*range(45)]


def test_new_rows_are_spread_over_the_rest_of_a_lap() -> None:
    rows = SourceStream.of("web", 3, 1_000).grown(500, 2_000).rows_at(500, 2_000)
    new = rows >= 1_000
    assert new.sum() == 1_000
    assert abs(int(new[:750].sum()) - 500) < 60  # 500 expected, standard deviation 11


def test_huge_streams_cost_nothing() -> None:
    stream = SourceStream.of("web", 3, 10**12, 10**6)
    first = 7 * 10**12
    rows = stream.rows_at(first, first + 1_000)
    ((used, positions),) = stream.positions_of(rows, first, first + 1_000)
    assert np.array_equal(positions[np.argsort(used)], np.arange(first, first + 1_000))


def test_streams_that_cannot_be() -> None:
    for eras in ((), (Era(3, 5),), (Era(0, 5), Era(2, 4)), (Era(0, 5), Era(4, 6), Era(3, 7))):
        with pytest.raises(ValueError, match="only grows"):
            SourceStream("web", 0, 0, eras)
    with pytest.raises(ValueError, match="6 rows held out of 5"):
        SourceStream.of("web", 0, 5, 6)
    with pytest.raises(ValueError, match="has no usable row"):
        SourceStream.of("web", 0, 5, 5).rows_at(0, 1)
    assert SourceStream.of("web", 0, 5, 5).position_after(Fraction(3)) == 0


def test_a_source_that_was_empty_grows() -> None:
    stream = SourceStream.of("web", 0, 0).grown(0, 7)
    assert sorted(stream.rows_at(0, 7).tolist()) == [*range(7)] and stream.position_after(Fraction(2)) == 14
