from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.contract.engine import LocalEngine


@given(st.integers(1, 5), st.lists(st.integers()))
def test_results_are_in_the_order_of_items(workers: int, items: list[int]) -> None:
    assert LocalEngine(workers).map(lambda item: -item, items) == [-item for item in items]


@pytest.mark.parametrize("workers", [1, 3])
def test_the_first_error_in_order_is_raised_and_the_rest_is_not_begun(workers: int) -> None:
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 1:
            time.sleep(0.05)
            raise ValueError("one")
        if item == 2:
            raise ValueError("two")
        time.sleep(0.01)
        return item

    with pytest.raises(ValueError, match="one"):
        LocalEngine(workers).map(work, range(100))
    assert len(begun) < 50


def test_nothing_runs_any_more_when_an_error_is_raised() -> None:
    running = threading.Semaphore(0)
    over: list[int] = []

    def work(item: int) -> None:
        if item == 0:
            running.acquire()
            raise KeyboardInterrupt
        running.release()
        time.sleep(0.1)
        over.append(item)

    with pytest.raises(KeyboardInterrupt):
        LocalEngine(2).map(work, range(2))
    assert over == [1]


def test_as_many_at_once_as_there_are_workers() -> None:
    together = threading.Barrier(3)
    assert LocalEngine(3).map(lambda _: together.wait(10) >= 0, range(3)) == [True] * 3
