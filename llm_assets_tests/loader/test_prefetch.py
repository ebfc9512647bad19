import gc
import threading
import time
from collections.abc import Iterator

import pytest

from llm_assets.loader import TokenLoader
from llm_assets.loader.prefetch import PrefetchIterator
from llm_assets.store.shards.shard_set import ShardSet


def threads() -> int:
    return sum(thread.name.startswith("token-loader") for thread in threading.enumerate())


def none_left(before: int) -> bool:
    deadline = time.monotonic() + 10
    while threads() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    return threads() == before


def test_items_come_in_order_and_at_most_so_many_ahead() -> None:
    made: list[int] = []

    def source() -> Iterator[int]:
        for number in range(1, 21):
            made.append(number)
            yield number

    before = threads()
    prefetch = PrefetchIterator(source(), 3)
    for number in range(1, 21):
        assert next(prefetch) == number
        assert len(made) <= number + 3
    assert list(prefetch) == []
    assert none_left(before)


def test_an_error_comes_in_its_place() -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("gone")

    before = threads()
    prefetch = PrefetchIterator(source(), 5)
    assert [next(prefetch), next(prefetch)] == [1, 2]
    with pytest.raises(OSError, match="gone"):
        next(prefetch)
    assert list(prefetch) == []
    assert none_left(before)


def test_the_thread_of_a_loop_broken_off_ends(shards: ShardSet) -> None:
    before = threads()
    loader = TokenLoader(shards, batch_size=4, prefetch=4)
    for _ in loader:
        break
    iterator = iter(loader)
    next(iterator)
    assert threads() > before
    del iterator
    gc.collect()
    assert none_left(before)
