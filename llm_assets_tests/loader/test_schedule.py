from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.loader.schedule import Cut, Deal, PositionError, Schedule

sizes_strategy = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 12)), min_size=1, max_size=5).map(
    lambda parts: [(sum(rows for rows, _ in parts[:place]), size) for place, (_, size) in enumerate(parts)]
)


def slow_steps(sizes: list[tuple[int, int]], rows: int) -> list[tuple[int, int]]:
    """First row and size of every step, one after the other."""
    steps: list[tuple[int, int]] = []
    position = 0
    while True:
        size = [size for start, size in sizes if start <= position][-1]
        if position + size > rows:
            return steps
        steps.append((position, size))
        position += size


@given(sizes=sizes_strategy, rows=st.integers(1, 300))
def test_position_and_step_follow_from_each_other(sizes: list[tuple[int, int]], rows: int) -> None:
    steps = slow_steps(sizes, rows)
    # a size too large for the rest ends the stream there, although a later size might fit
    if not steps:
        with pytest.raises(ValueError, match="there are only"):
            Schedule(sizes, rows)
        return
    schedule = Schedule(sizes, rows)
    assert (schedule.steps, schedule.end) == (len(steps), steps[-1][0] + steps[-1][1])
    for number, (first, size) in enumerate(steps):
        assert schedule.position_of(number) == first
        for position in range(first, first + size):
            step = schedule.step_at(position)
            assert (step.number, step.first, step.rows) == (number, first, size)
            assert schedule.steps_before(position) == number
    assert schedule.position_of(len(steps)) == schedule.end
    assert schedule.steps_before(schedule.end) == len(steps)
    for position in (-1, schedule.end):
        with pytest.raises(PositionError):
            schedule.step_at(position)
    for number in (-1, len(steps) + 1):
        with pytest.raises(PositionError):
            schedule.position_of(number)


@given(
    sizes=st.lists(st.tuples(st.integers(1, 40), st.sampled_from([4, 8, 12])), min_size=1, max_size=4),
    rows=st.integers(12, 200),
    world_size=st.sampled_from([1, 2, 4]),
    micro=st.sampled_from([None, 1]),
    most=st.integers(0, 40),
)
def test_cuts_cover_the_stream_in_batches(
    sizes: list[tuple[int, int]], rows: int, world_size: int, micro: int | None, most: int
) -> None:
    starts = [(sum(length for length, _ in sizes[:place]), size) for place, (_, size) in enumerate(sizes)]
    schedule = Schedule(starts, rows)
    deal = Deal(schedule, world_size, micro)
    batches: list[tuple[int, int]] = []
    position = 0
    while position < schedule.end:
        cut: Cut = deal.cut(position, most)
        assert cut.first == position and cut.count >= 1
        assert cut.count == 1 or cut.count * cut.rows // world_size <= most
        batches += [(position + number * cut.rows, cut.rows) for number in range(cut.count)]
        position += cut.count * cut.rows
    assert position == schedule.end
    together = None if micro is None else micro * world_size
    expected = [
        (first + part, together or size)
        for first, size in slow_steps(starts, rows)
        for part in range(0, size, together or size)
    ]
    assert batches == expected
    assert len(deal) == len(batches)
    ends = [first for first, _ in batches]
    for before, after in pairwise(ends):
        for position in range(before + 1, after):
            with pytest.raises(PositionError, match="no batch starts"):
                deal.check(position)
