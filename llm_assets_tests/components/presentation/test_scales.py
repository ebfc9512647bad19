from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from llm_assets.components.presentation.scales import Linear, Logarithmic, short, tick_labels

numbers = st.floats(-1e12, 1e12, allow_nan=False)


@given(numbers, numbers)
def test_linear_ticks_are_few_round_and_inside(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assume(high - low > 1e-6 * max(1.0, abs(low), abs(high)))
    ticks = Linear(low, high).ticks()
    assert 2 <= len(ticks) <= 7
    slack = (high - low) * 1e-9
    assert all(low - slack <= tick <= high + slack for tick in ticks)
    step = (ticks[-1] - ticks[0]) / (len(ticks) - 1)
    assert ticks == pytest.approx([ticks[0] + step * place for place in range(len(ticks))], abs=slack)
    digit = float(f"{step:.6e}".split("e")[0])
    assert min(abs(digit - nice) for nice in (1, 2, 5, 10)) < 1e-3
    assert len(set(tick_labels(ticks))) == len(ticks)


@given(st.integers(1, 10**9))
def test_counts_have_whole_ticks_from_0(high: int) -> None:
    ticks = Linear(0, high, most=4, whole=True).ticks()
    assert ticks[0] == 0 and all(tick == int(tick) for tick in ticks)
    assert len(ticks) <= 5 and (high < 2 or len(ticks) >= 2)


@given(st.floats(1e-6, 1e9), st.floats(101, 1e15), st.booleans())
def test_powers_of_ten_are_spread_evenly(low: float, factor: float, with_zeros: bool) -> None:
    scale = Logarithmic(low, low * factor, 0.025 if with_zeros else 0.0)
    ticks = scale.ticks()
    assert (ticks[0] == 0) is with_zeros
    powers = ticks[1:] if with_zeros else ticks
    assert 2 <= len(powers) <= 8
    assert all(math.log10(power) == pytest.approx(round(math.log10(power))) for power in powers)
    places = [scale.place(power) for power in powers]
    steps = [later - earlier for earlier, later in itertools.pairwise(places)]
    assert min(places) >= -1e-9 and max(places) <= 1 + 1e-9
    assert steps == pytest.approx([steps[0]] * len(steps)) and steps[0] > 0


@given(st.floats(0, 1e6))
def test_zeros_have_their_room_and_order_is_kept(value: float) -> None:
    scale = Logarithmic(10, 1e6, 0.05)
    assert scale.place(0) == 0 and scale.place(10) == pytest.approx(0.05) and scale.place(1e6) == pytest.approx(1)
    assert scale.place(value) <= scale.place(value + 1)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (999, "999"),
        (1000, "1k"),
        (1_250_000, "1.25M"),
        (-4e9, "-4G"),
        (1e-7, "1e-07"),
    ],
)
def test_numbers_are_short(value: float, says: str) -> None:
    assert short(value) == says
