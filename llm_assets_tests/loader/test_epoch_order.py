import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.loader.epoch_order import EpochOrder


def rows(order: EpochOrder, first: int, last: int) -> list[int]:
    return [row for start, stop in order.ranges(first, last) for row in range(start, stop)]


@given(
    size=st.integers(1, 300),
    seed=st.none() | st.integers(0, 2**64),
    block=st.integers(1, 40),
    data=st.data(),
)
def test_every_epoch_has_every_row_once_and_any_range_is_a_part_of_it(
    size: int, seed: int | None, block: int, data: st.DataObject
) -> None:
    order = EpochOrder(size, seed, block)
    whole = rows(order, 0, 3 * size)
    assert whole[:size] == list(range(size))
    for epoch in range(3):
        assert sorted(whole[epoch * size : (epoch + 1) * size]) == list(range(size))
    if seed is None:
        assert whole == list(range(size)) * 3
    first = data.draw(st.integers(0, 3 * size))
    last = data.draw(st.integers(first, 3 * size))
    assert rows(order, first, last) == whole[first:last]
    assert all(0 <= start < stop <= size for start, stop in order.ranges(first, last))


def test_rows_are_found_without_going_through_those_before() -> None:
    order = EpochOrder(10**15, seed=1)
    far = 5 * 10**15 + 10**14
    spans = list(order.ranges(far, far + 1000))
    assert sum(stop - start for start, stop in spans) == 1000
    assert len(spans) <= 18


def test_blocks_of_later_epochs_are_spread_over_the_set() -> None:
    """Where a block lands says nothing of where it came from: a chi-square test over 16 × 16 regions."""
    size, block = 1 << 16, 16
    order = EpochOrder(size, seed=2, block=block)
    counts = [[0] * 16 for _ in range(16)]
    blocks = size // block
    for number in range(blocks):
        start, _ = next(iter(order.ranges(size + number * block, size + number * block + 1)))
        counts[number * 16 // blocks][start * 16 // size] += 1
    expected = blocks / 256
    statistic = sum((count - expected) ** 2 / expected for line in counts for count in line)
    # 225 degrees of freedom (rows and columns have fixed sums): mean 225, deviation 21
    assert 225 - 5 * 21 < statistic < 225 + 5 * 21


def test_the_order_is_part_of_the_format() -> None:
    """A change would make saved states go on with other rows."""
    order = EpochOrder(1000, seed=7, block=10)
    assert [start for start, _ in order.ranges(1000, 1050)] == [335, 965, 195, 45, 155]


def test_blocks_have_a_row() -> None:
    with pytest.raises(ValueError, match="blocks of 0"):
        EpochOrder(10, block=0)
