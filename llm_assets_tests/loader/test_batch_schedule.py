from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.loader.batch_schedule import BatchGroup, BatchSchedule, MicroBatching, PositionError

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
        with pytest.raises(ValueError, match="has only"):
            BatchSchedule(sizes, rows)
        return
    schedule = BatchSchedule(sizes, rows)
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


@pytest.mark.parametrize("sizes", [8.0, "8", None, (0, 8), {0: 8}, [(0, 8.5)], [(0, 8, 1)], [0]])
def test_sizes_that_are_no_numbers_of_rows_are_shown(sizes: Any) -> None:
    with pytest.raises(ValueError, match=r"batch size .*: give a number of rows, or pairs") as caught:
        BatchSchedule(sizes, 100)
    assert repr(sizes) in str(caught.value)


def test_sizes_may_be_numbers_of_numpy_and_become_plain_ones() -> None:
    assert [type(size) for size in BatchSchedule(np.int64(8), 100).batch_sizes()] == [int]
    assert BatchSchedule([(np.int32(0), np.int32(8))], 100).sizes == ((0, 8),)
    with pytest.raises(ValueError, match=r"150\.0 rows: the number of epochs"):
        BatchSchedule(8, 150.0)


@pytest.mark.parametrize(
    ("rows", "world_size", "micro", "near"), [(8, 5, None, "5 or 10"), (10, 1, 3, "9 or 12"), (4, 8, None, "8")]
)
def test_a_batch_that_cannot_be_shared_names_those_next_to_it(
    rows: int, world_size: int, micro: int | None, near: str
) -> None:
    with pytest.raises(ValueError, match=rf"cannot be divided among {world_size} ranks.*: use {near}$"):
        MicroBatching(BatchSchedule(rows, 100), world_size, micro)


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
    schedule = BatchSchedule(starts, rows)
    micro_batching = MicroBatching(schedule, world_size, micro)
    batches: list[tuple[int, int]] = []
    position = 0
    while position < schedule.end:
        group: BatchGroup = micro_batching.group_at(position, most)
        assert group.first == position and group.count >= 1
        assert group.count == 1 or group.count * group.rows // world_size <= most
        batches += [(position + number * group.rows, group.rows) for number in range(group.count)]
        position += group.count * group.rows
    assert position == schedule.end
    together = None if micro is None else micro * world_size
    expected = [
        (first + part, together or size)
        for first, size in slow_steps(starts, rows)
        for part in range(0, size, together or size)
    ]
    assert batches == expected
    assert len(micro_batching) == len(batches)
    ends = [first for first, _ in batches]
    for before, after in pairwise(ends):
        for position in range(before + 1, after):
            with pytest.raises(PositionError, match="no batch starts"):
                micro_batching.check(position)
