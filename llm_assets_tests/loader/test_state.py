"""Which saved states a stream goes on from, where whole loaders would say little more."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from llm_assets.loader.state import LoaderStateError, StreamIdentity, position_in, to_dict

STREAM = StreamIdentity("d", set_rows=10, sequence_length=4, seed=1, block=3)


@pytest.mark.parametrize(("position", "accepted"), [(0, True), (9, True), (10, True), (11, False), (30, False)])
@pytest.mark.parametrize("change", [{"seed": 2}, {"seed": None}, {"block": 4}])
def test_the_order_may_change_until_the_first_epoch_is_over(
    position: int, accepted: bool, change: dict[str, Any]
) -> None:
    other = replace(STREAM, **change)
    if accepted:
        assert position_in(other, 4, to_dict(STREAM, position)) == position
    else:
        with pytest.raises(LoaderStateError, match="another order"):
            position_in(other, 4, to_dict(STREAM, position))


def test_the_first_epoch_is_counted_in_rows_of_the_saved_length() -> None:
    short = replace(STREAM, sequence_length=2, seed=5)
    assert position_in(short, 4, to_dict(replace(short, seed=1), 20)) == 20
    with pytest.raises(LoaderStateError, match="another order"):
        position_in(short, 4, to_dict(replace(short, seed=1), 22))


def test_without_a_seed_blocks_mean_nothing() -> None:
    plain = replace(STREAM, seed=None)
    assert position_in(replace(plain, block=7), 4, to_dict(plain, 25)) == 25


@pytest.mark.parametrize(
    ("state", "described"),
    [
        (None, "a NoneType"),
        ([1], "a list"),
        ({}, r"a dict of \[\]"),
        ({"model": 1, "data": 2}, r"a dict of \['model', 'data'\]"),
    ],
)
def test_what_is_no_state_says_what_it_is(state: Any, described: str) -> None:
    with pytest.raises(LoaderStateError, match=f"^{described} is not a saved state"):
        position_in(STREAM, 4, state)


@pytest.mark.parametrize(
    "change", [{"seed": 1.5}, {"seed": "1"}, {"seed": np.int64(1)}, {"seed": True}, {"block": 3.0}]
)
def test_seeds_that_json_could_not_keep_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="give both as int"):
        replace(STREAM, **change)
