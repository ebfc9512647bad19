"""What is announced is what is read: the shards in turn, for any rank, schedule, order and position."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from llm_assets.loader import TokenLoader
from llm_assets.store.shards.shard_set import DocumentLengths, ShardSet
from llm_assets_tests.loader.sets import LENGTH, plain, write

ROWS, SHARD_ROWS = 50, 7


class Recording(ShardSet):
    """Notes what it is told and what is read of it."""

    def __init__(self, shards: ShardSet) -> None:
        super().__init__(shards.folder, shards.index)
        self.told: Iterator[tuple[int, int]] = iter(())
        self.announcements = self.withdrawn = 0
        self.read: list[tuple[int, int]] = []

    def announce(self, ranges: Iterable[tuple[int, int]]) -> Callable[[], None]:
        self.told = iter(ranges)
        self.announcements += 1

        def withdraw() -> None:
            self.withdrawn += 1

        return withdraw

    def input_ids(self, first: int, last: int) -> NDArray[Any]:
        self.read.append((first, last))
        return super().input_ids(first, last)

    def document_lengths(self, first: int, last: int) -> DocumentLengths:
        self.read.append((first, last))
        return super().document_lengths(first, last)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    return write(tmp_path_factory.mktemp("upcoming"), ROWS, shard_rows=SHARD_ROWS)


def visited(ranges: Iterable[tuple[int, int]]) -> list[int]:
    """The shards that ranges of rows lie in, each range in one, and each shard once in a row."""
    shards = []
    for first, last in ranges:
        assert first // SHARD_ROWS == (last - 1) // SHARD_ROWS
        shards.append(first // SHARD_ROWS)
    return [shard for shard, _ in groupby(shards)]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_what_is_told_is_read(shards: ShardSet, data: st.DataObject) -> None:
    world = data.draw(st.integers(1, 4))
    micro = data.draw(st.none() | st.integers(1, 3))
    unit = world * (micro or 1)
    sizes = [(0, unit * data.draw(st.integers(1, 4)))]
    if data.draw(st.booleans()):
        sizes.append((data.draw(st.integers(1, ROWS)), unit * data.draw(st.integers(1, 4))))
    options: dict[str, Any] = {
        "batch_size": sizes,
        "micro_batch_size": micro,
        "epochs": data.draw(st.integers(2, 3)),
        "seed": data.draw(st.none() | st.integers(0, 5)),
        "block": data.draw(st.integers(1, 20)),
        "sequence_length": data.draw(st.sampled_from([LENGTH, LENGTH // 3])),
    }
    recording = Recording(shards)
    rank = data.draw(st.integers(0, world - 1))
    prefetch = data.draw(st.sampled_from([0, 3]))
    loader = TokenLoader(recording, rank=rank, world_size=world, prefetch=prefetch, **options)
    before = data.draw(st.integers(0, len(loader) - 1))
    first = TokenLoader(shards, rank=rank, world_size=world, **options)
    for _ in islice(first, before):
        pass
    loader.load_state_dict(first.state_dict())
    assert plain(loader) == plain(first)
    assert visited(recording.told) == visited(recording.read)
    assert recording.announcements == recording.withdrawn == 1


def test_an_endless_stream_is_told_as_far_as_it_is_asked(shards: ShardSet) -> None:
    recording = Recording(shards)
    loader = TokenLoader(recording, batch_size=8, rank=1, world_size=2, epochs=None, seed=3, block=5)
    batches = iter(loader)
    for _ in range(30):
        next(batches)
    read = visited(recording.read)
    assert visited(islice(recording.told, 10 * len(read)))[: len(read)] == read
    del batches
    assert recording.withdrawn == 1


def test_a_loader_that_goes_on_elsewhere_says_so(shards: ShardSet) -> None:
    recording = Recording(shards)
    loader = TokenLoader(recording, batch_size=5)
    batches = iter(loader)
    state = loader.state_dict()
    next(batches)
    loader.load_state_dict(state)
    recording.read.clear()
    assert np.array_equal(next(batches)["input_ids"], shards.input_ids(0, 5))
    assert (recording.announcements, recording.withdrawn) == (2, 1)
    assert visited(recording.told)[:1] == visited(recording.read)


def test_a_local_set_does_not_look(tmp_path: Path) -> None:
    def ranges() -> Iterator[tuple[int, int]]:
        raise AssertionError("somebody looked")
        yield 0, 5

    shards = write(tmp_path, 5)
    shards.announce(ranges())()
    assert len(list(TokenLoader(shards, batch_size=5))) == 1
