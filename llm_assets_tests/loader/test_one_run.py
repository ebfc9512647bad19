"""A loader is one run over the stream: positions, saved states, epochs, steps, whatever stops it on the way."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_assets.loader import DigestMismatchError, LoaderExhaustedError, LoaderStateError, TokenLoader
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets_tests.loader.sets import (
    LENGTH,
    even_batches,
    joined,
    plain,
    slow_batches,
    slow_rows,
    write,
)

SHARED_FOLDER = [HealthCheck.function_scoped_fixture]


@settings(max_examples=60, suppress_health_check=SHARED_FOLDER)
@given(
    stops=st.lists(
        st.tuples(st.integers(0, 12), st.sampled_from([1, 2, 3, 4, 6]), st.integers(0, 3)), min_size=1, max_size=5
    )
)
def test_resumed_runs_equal_an_uninterrupted_one(shards: ShardSet, stops: list[tuple[int, int, int]]) -> None:
    """Each process delivers some batches to ranks of some world, is saved, and dies with an iterator in mid-air."""
    delivered: list[dict[str, list[list[int]]]] = []
    states: list[dict[str, Any]] = []
    for batches, world_size, prefetch in stops:
        ranks = [
            TokenLoader(shards, batch_size=12, rank=rank, world_size=world_size, epochs=None, prefetch=prefetch)
            for rank in range(world_size)
        ]
        for rank in ranks if states else ():
            rank.load_state_dict(json.loads(json.dumps(states[-1])))
        iterators = [iter(rank) for rank in ranks]
        delivered += plain(joined([next(iterator) for iterator in iterators]) for _ in range(batches))
        states.append(ranks[0].state_dict())
        assert all(rank.state_dict() == states[-1] for rank in ranks)
    wanted = sum(batches for batches, *_ in stops)
    assert delivered == slow_batches(slow_rows(shards) * 8, [12] * wanted)


@settings(max_examples=60, suppress_health_check=SHARED_FOLDER)
@given(
    schedule=st.lists(st.tuples(st.integers(1, 60), st.sampled_from([2, 4, 8, 12])), min_size=1, max_size=4),
    micro=st.sampled_from([None, 1, 2]),
    prefetch=st.integers(0, 2),
    seed=st.sampled_from([None, 3]),
    data=st.data(),
)
def test_resuming_anywhere_gives_the_rest(
    shards: ShardSet,
    schedule: list[tuple[int, int]],
    micro: int | None,
    prefetch: int,
    seed: int | None,
    data: st.DataObject,
) -> None:
    starts = np.cumsum([0, *(rows for rows, _ in schedule)]).tolist()
    sizes = [(start, size) for start, (_, size) in zip(starts, schedule, strict=False)]
    settings: dict[str, Any] = {"batch_size": sizes, "micro_batch_size": micro, "epochs": 2, "seed": seed, "block": 5}
    whole, states = [], []
    loader = TokenLoader(shards, **settings)
    states.append(loader.state_dict())
    for batch in loader:
        whole += plain([batch])
        states.append(loader.state_dict())
    assert len(whole) == len(loader)
    at = data.draw(st.integers(0, len(whole)))
    resumed = TokenLoader(shards, **settings, prefetch=prefetch)
    resumed.load_state_dict(states[at])
    assert plain(resumed) == whole[at:]
    assert resumed.state_dict() == states[-1]


def test_micro_batches_and_steps(shards: ShardSet) -> None:
    settings: dict[str, Any] = {"batch_size": [(0, 4), (16, 12)], "micro_batch_size": 2, "world_size": 2}
    ranks = [TokenLoader(shards, **settings, rank=rank) for rank in range(2)]
    assert (ranks[0].at_step_end, ranks[0].step, ranks[0].accumulation) == (True, 0, 1)
    seen: list[tuple[int, int, bool, int]] = []
    rows: list[torch.Tensor] = []
    for parts in zip(*ranks, strict=True):
        assert parts[0]["input_ids"].shape == (2, LENGTH)
        rows += [part["input_ids"] for part in parts]
        seen.append((ranks[0].position, ranks[0].step, ranks[0].at_step_end, ranks[0].accumulation))
    assert seen[:8] == [
        (4, 1, True, 1),
        (8, 2, True, 1),
        (12, 3, True, 1),
        (16, 4, True, 1),
        (20, 4, False, 3),
        (24, 4, False, 3),
        (28, 5, True, 3),
        (32, 5, False, 3),
    ]
    assert seen[-1] == (100, 11, True, 3)
    assert len(seen) == len(ranks[0]) == 4 + 7 * 3
    assert torch.cat(rows).tolist() == shards.input_ids(0, 100).tolist()


def test_a_state_within_a_step_fits_another_world_only_where_a_batch_starts(shards: ShardSet) -> None:
    loader = TokenLoader(shards, batch_size=12, micro_batch_size=2)
    iterator = iter(loader)
    for _ in range(2):
        next(iterator)
    two = TokenLoader(shards, batch_size=12, micro_batch_size=1, rank=1, world_size=4)
    two.load_state_dict(loader.state_dict())
    assert next(iter(two))["input_ids"].tolist() == shards.input_ids(5, 6).tolist()
    three = TokenLoader(shards, batch_size=12, micro_batch_size=2, world_size=3)
    with pytest.raises(LoaderStateError, match=r"row 4 is 4 rows into step 0 .*saved at the end of a step"):
        three.load_state_dict(loader.state_dict())
    assert three.position == 0


def test_state_counts_what_was_delivered(shards: ShardSet) -> None:
    for prefetch in (0, 1, 5):
        loader = TokenLoader(shards, batch_size=10, prefetch=prefetch)
        assert (loader.epoch, loader.position, loader.unused_rows) == (0, 0, 1)
        for number, _ in enumerate(loader, start=1):
            assert loader.state_dict()["position"] == loader.position == 10 * number
        assert (loader.step, loader.position) == (10, 100)


def test_iterators_share_the_position(shards: ShardSet) -> None:
    for prefetch in (0, 4):
        loader = TokenLoader(shards, batch_size=10, prefetch=prefetch)
        one, two = iter(loader), iter(loader)
        assert plain([next(one), next(one), next(two), next(one)]) == even_batches(shards, 10)[:4]
        before = loader.state_dict()
        assert plain([next(two)]) == even_batches(shards, 10)[4:5]
        loader.load_state_dict(before)
        assert plain([next(two), next(one)]) == even_batches(shards, 10)[4:6]


def test_a_loop_broken_off_goes_on_and_a_finished_one_does_not_start_again(shards: ShardSet) -> None:
    loader = TokenLoader(shards, batch_size=10)
    seen = []
    start = loader.state_dict()
    for batch in loader:
        seen.append(batch)
        if len(seen) == 4:
            break
    assert plain([*seen, *loader]) == even_batches(shards, 10)
    with pytest.raises(LoaderExhaustedError, match="100 rows"):
        iter(loader)
    end = loader.state_dict()
    loader.load_state_dict(start)
    assert len(list(loader)) == 10
    restarted = TokenLoader(shards, batch_size=10)
    restarted.load_state_dict(end)
    assert list(restarted) == []


def test_epochs_follow_each_other_without_a_gap(shards: ShardSet) -> None:
    loader = TokenLoader(shards, batch_size=10, epochs=3)
    assert plain(loader) == slow_batches(slow_rows(shards) * 3, [10] * 30)
    assert (loader.epoch, loader.unused_rows) == (2, 3)
    endless = TokenLoader(shards, batch_size=10, epochs=None)
    with pytest.raises(TypeError, match="endless"):
        len(endless)
    assert endless.unused_rows == 0


def test_later_epochs_with_a_seed_have_every_row_once(shards: ShardSet) -> None:
    def epochs(seed: int | None) -> list[list[list[int]]]:
        loader = TokenLoader(shards, batch_size=101, epochs=4, seed=seed, block=4, fields=["input_ids"])
        return [batch["input_ids"].tolist() for batch in loader]

    rows = shards.input_ids(0, 101).tolist()
    first, *later = epochs(5)
    assert first == rows
    assert all(sorted(epoch) == sorted(rows) and epoch != rows for epoch in later)
    assert later[0] != later[1]
    assert epochs(5) == [first, *later]
    assert epochs(6)[1] not in later


def test_a_sequence_length_may_change_where_a_row_ends(shards: ShardSet) -> None:
    short = TokenLoader(shards, batch_size=6, sequence_length=4, fields=["input_ids"])
    whole = TokenLoader(shards, batch_size=3, epochs=1, fields=["input_ids"])
    iterator = iter(short)
    next(iterator)
    with pytest.raises(LoaderStateError, match=r"row 2 is 2 rows into step 0"):
        whole.load_state_dict(short.state_dict())
    TokenLoader(shards, batch_size=2).load_state_dict(short.state_dict())
    odd = TokenLoader(shards, batch_size=1, sequence_length=4)
    next(iter(odd))
    with pytest.raises(LoaderStateError, match="inside a row of 12"):
        whole.load_state_dict(odd.state_dict())
    for _ in range(8):
        next(iterator)
    whole.load_state_dict(short.state_dict())
    assert next(iter(whole))["input_ids"].tolist() == shards.input_ids(18, 21).tolist()


def test_a_batch_size_that_changes_is_a_schedule(shards: ShardSet) -> None:
    loader, larger = TokenLoader(shards, batch_size=5), TokenLoader(shards, batch_size=20)
    for _ in range(3):
        next(iter(loader))
    with pytest.raises(LoaderStateError, match=r"whole run, \[\(0, before\), \(15, after\)\]"):
        larger.load_state_dict(loader.state_dict())
    scheduled = TokenLoader(shards, batch_size=[(0, 5), (15, 20)])
    scheduled.load_state_dict(loader.state_dict())
    assert (scheduled.step, scheduled.unused_rows) == (3, (101 - 15) % 20)
    assert torch.cat([batch["input_ids"] for batch in scheduled]).tolist() == shards.input_ids(15, 95).tolist()


def test_states_of_other_sets_and_strange_states_are_refused(shards: ShardSet, tmp_path: Path) -> None:
    loader = TokenLoader(shards, batch_size=10)
    next(iter(loader))
    good = loader.state_dict()
    other = TokenLoader(write(tmp_path, 101, seed=1), batch_size=10)
    with pytest.raises(DigestMismatchError, match=shards.digest):
        other.load_state_dict(good)
    for change in (
        {"version": 1},
        {"position": -1},
        {"position": 102},
        {"position": 1.0},
        {"position": True},
        {"sequence_length": 5},
        {"sequence_length": None},
    ):
        with pytest.raises(LoaderStateError):
            loader.load_state_dict(good | change)
    with pytest.raises(LoaderStateError):
        loader.load_state_dict({})
    assert (other.position, loader.position) == (0, 10)


def test_a_state_of_another_order_is_refused_after_the_first_epoch(shards: ShardSet) -> None:
    loader = TokenLoader(shards, batch_size=20, epochs=3, seed=1)
    iterator = iter(loader)
    for _ in range(5):
        next(iterator)
    TokenLoader(shards, batch_size=20, epochs=3, seed=2).load_state_dict(loader.state_dict())
    next(iterator)
    with pytest.raises(LoaderStateError, match="another order"):
        TokenLoader(shards, batch_size=20, epochs=3, seed=2).load_state_dict(loader.state_dict())
    with pytest.raises(LoaderStateError, match="another order"):
        TokenLoader(shards, batch_size=20, epochs=3).load_state_dict(loader.state_dict())
