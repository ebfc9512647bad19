"""The same global batches for any number of ranks, any prefetch, and any number of interruptions."""

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from llm_assets.loader import TokenLoader
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets_tests.loader.sets import joined, write

pytestmark = pytest.mark.torture
WORLDS = [1, 2, 3, 4, 6, 8, 12, 24]
BATCH = 24
STEPS = 12
EPOCH_STEPS = 8
SETTINGS: dict[str, Any] = {"batch_size": BATCH, "epochs": 2, "seed": 9, "block": 10}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    """An epoch and a half of it are `STEPS` steps, so that batches reach into a second epoch of another order."""
    return write(tmp_path_factory.mktemp("large"), BATCH * EPOCH_STEPS + 5, shard_rows=31)


def ranks(
    shards: ShardSet, world_size: int, prefetch: int, state: dict[str, Any] | None, device: str | None = None
) -> list[TokenLoader]:
    loaders = [
        TokenLoader(shards, **SETTINGS, rank=rank, world_size=world_size, prefetch=prefetch, device=device)
        for rank in range(world_size)
    ]
    for loader in loaders if state else ():
        loader.load_state_dict(json.loads(json.dumps(state)))
    return loaders


def chain(link: bytes, loaders: list[TokenLoader], steps: int) -> bytes:
    """SHA-256 of the chain so far and of each global batch in turn, all fields."""
    iterators = [iter(loader) for loader in loaders]
    for _ in range(steps):
        whole = joined([next(iterator) for iterator in iterators])
        digest = hashlib.sha256(link)
        for name, tensor in sorted(whole.items()):
            digest.update(name.encode() + tensor.numpy().tobytes())
        link = digest.digest()
    return link


@pytest.fixture(scope="module")
def expected(large: ShardSet) -> bytes:
    return chain(b"", ranks(large, 1, 0, None), STEPS)


@pytest.mark.parametrize("world_size", WORLDS)
def test_one_chain_for_any_world_and_prefetch(large: ShardSet, expected: bytes, world_size: int) -> None:
    for prefetch in range(9):
        assert chain(b"", ranks(large, world_size, prefetch, None), STEPS) == expected


@pytest.mark.parametrize("trial", range(20))
def test_one_chain_when_the_world_changes_at_three_resumes(large: ShardSet, expected: bytes, trial: int) -> None:
    choose = random.Random(trial)
    stops = sorted(choose.sample(range(1, EPOCH_STEPS), 3))  # all in the first epoch
    if trial % 2:  # or, with one more, in the second
        stops = [EPOCH_STEPS, *range(EPOCH_STEPS + 1, STEPS)]
    link, state = b"", None
    for begin, end in zip([0, *stops], [*stops, STEPS], strict=True):
        loaders = ranks(large, choose.choice(WORLDS), choose.randrange(9), state, choose.choice([None, "cpu"]))
        link = chain(link, loaders, end - begin)
        states = [loader.state_dict() for loader in loaders]
        assert all(other == states[0] for other in states)
        state = states[0]
    assert link == expected


def test_the_chain_depends_on_the_rows(large: ShardSet, expected: bytes, tmp_path: Path) -> None:
    other = write(tmp_path, large.rows, seed=1, shard_rows=31)
    assert chain(b"", ranks(other, 1, 0, None), STEPS) != expected
