"""Shuffled epochs through a cache: what is fetched, how much of it, and what is waited for.

"In file order" is the same run with a set that is told nothing, and guesses that the next shard follows.
"""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.spec import AbstractFileSystem

from llm_assets.loader import TokenLoader
from llm_assets.loader.cache import CachedShardSet, CacheSettings, FetchSettings, open_cached
from llm_assets.store.shards import writer as shard_writer
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets_tests.loader.cache.test_cached_sets import cached, largest, until_true
from llm_assets_tests.loader.sets import plain, write

LATE, STEP = 0.02, 0.03
"""Seconds that a shard takes, and a training step."""
BATCH, SHARD_ROWS = 8, 31
BLOCK = 256
BLOCKS = (2, 20, 200, 500, 2_000, 8_000)
"""Rows: the first are a quarter of a checksum block, as 64 rows of 2,048 tokens are, the last ones four shards."""
FETCH = FetchSettings(deadline_seconds=60, range_bytes=1 << 20, hedge_seconds=30)


class LateFiles(AbstractFileSystem):
    """Whole files and ranges of local ones, each some milliseconds late: `late:///folder`."""

    protocol = "late"

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        time.sleep(LATE)
        return Path(self._strip_protocol(path)).read_bytes()[start:end]


fsspec.register_implementation("late", LateFiles, clobber=True)


def settings(folder: Path, quota_bytes: int, **others: Any) -> CacheSettings:
    return CacheSettings(folder, quota_bytes, **{"memory_bytes": 4 * BLOCK, "fetch": FETCH} | others)


def told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CachedShardSet, "announce", lambda shards, ranges: lambda: None)


@pytest.mark.parametrize("announced", [False, True], ids=["in file order", "announced"])
def test_blocks_of_a_shard_with_room_for_five(
    announced: bool, source: ShardSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not announced:
        told_nothing(monkeypatch)
    shards = open_cached(f"late://{source.uri}", settings(tmp_path / "c", 5 * largest(source), prefetch=3))
    options: dict[str, Any] = {"batch_size": BATCH, "epochs": 3, "seed": 1, "block": SHARD_ROWS}
    batches = []
    for batch in TokenLoader(shards, **options):
        batches.append(batch)
        time.sleep(STEP)
    assert plain(batches) == plain(TokenLoader(source, **options))
    counters = shards.counters
    waits = counters.misses + counters.direct
    print(f"{len(batches)} batches: {waits} reads waited, {1000 * counters.stall_seconds:.0f} ms together")
    if announced:
        assert waits <= 5  # the first one; others where the machine is busy
    else:
        assert waits >= 12


def test_a_cache_that_holds_the_set_is_filled_once(source: ShardSet, tmp_path: Path) -> None:
    shards = open_cached(source.uri, settings(tmp_path / "c", 1 << 20))
    loader = TokenLoader(shards, batch_size=BATCH, epochs=4, seed=1, block=5)
    for _ in islice(loader, len(loader) // 4 + 1):
        pass
    requests, misses = shards.counters.requests, shards.counters.misses
    assert requests >= 10
    for _ in loader:
        pass
    assert (shards.counters.requests, shards.counters.misses, shards.counters.direct) == (requests, misses, 0)


def test_at_the_end_of_an_epoch_the_first_shard_comes_next(source: ShardSet, tmp_path: Path) -> None:
    shards = cached(source, tmp_path / "c")
    loader = TokenLoader(shards, batch_size=1, epochs=2)
    loader.load_state_dict(TokenLoader(source, batch_size=1, epochs=2).state_dict() | {"position": 9 * SHARD_ROWS})
    batches = iter(loader)
    next(batches)
    until_true(lambda: shards.counters.prefetched == 1)
    assert {file.stem for file in (tmp_path / "c").glob("*.shard")} == {
        source.shards()[number].checksum for number in (9, 0)
    }


def test_ahead_does_not_drive_out_what_it_fetched(source: ShardSet, tmp_path: Path) -> None:
    shards = cached(source, tmp_path / "c", quota_bytes=2 * largest(source), prefetch=5)
    for _ in TokenLoader(shards, batch_size=10, epochs=2):
        pass
    size = sum(shard.bytes for shard in source.shards())
    assert shards.counters.bytes_fetched <= 2.5 * size + 20_000  # the table of shards


@pytest.mark.parametrize("block", [3, SHARD_ROWS, 70])
def test_ranks_that_share_the_smallest_cache(block: int, wide: ShardSet, source: ShardSet, tmp_path: Path) -> None:
    for shards, rows in ((source, source.rows), (wide, 1_000)):
        folder = tmp_path / str(shards.rows)
        options: dict[str, Any] = {"batch_size": 30, "world_size": 3, "epochs": None, "seed": 2, "block": block}
        state = TokenLoader(shards, **options).state_dict() | {"position": shards.rows // 30 * 30}
        mine = settings(folder, 4 * largest(shards), processes=3, prefetch=2)
        loaders = []
        for rank in range(3):
            for each in (shards, open_cached(shards.uri, mine)):
                loaders.append(TokenLoader(each, rank=rank, prefetch=2, **options))
                loaders[-1].load_state_dict(state)
        for batches in islice(zip(*loaders, strict=True), rows // 30):
            direct, through = plain(batches[::2]), plain(batches[1::2])
            assert direct == through


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    """Shards of several hundred blocks, as real ones have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_writer, "BLOCK_BYTES", BLOCK)
        return write(tmp_path_factory.mktemp("wide"), 32_000, shard_rows=2_000)


def fetched(wide: ShardSet, folder: Path, block: int, quota: float, rows: int) -> float:
    """Bytes fetched in `rows` rows of a shuffled epoch after a whole one, as a multiple of these rows."""
    size = sum(shard.bytes for shard in wide.shards())
    quota_bytes = max(2 * largest(wide), int(quota * size))
    shards = open_cached(wide.uri, settings(folder / f"{block}-{quota}", quota_bytes))
    shards.input_ids(0, wide.rows)
    loader = TokenLoader(shards, batch_size=40, epochs=None, seed=1, block=block)
    loader.load_state_dict(loader.state_dict() | {"position": wide.rows})
    before = shards.counters.bytes_fetched
    for _ in islice(loader, rows // 40):
        pass
    shards.close()
    return (shards.counters.bytes_fetched - before) / size * wide.rows / rows


@pytest.mark.parametrize("announced", [False, True], ids=["in file order", "announced"])
def test_what_a_shuffled_epoch_fetches(
    announced: bool, wide: ShardSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not announced:
        told_nothing(monkeypatch)
    print("\nblock (of a shard's rows) | quota (of the set) | fetched per epoch (of the set)")
    found: dict[tuple[int, float], float] = {}
    for block in BLOCKS:
        for quota in (0.25, 0.5, 1.0):
            rows = {2: 1_000, 20: 4_000, 200: 8_000}.get(block, wide.rows)
            found[block, quota] = fetched(wide, tmp_path, block, quota, rows)
            print(f"{block / 2_000:>6} | {quota:>4} | {found[block, quota]:.2f}")
    for block in BLOCKS:
        assert found[block, 1.0] == 0
        most = {2: 12, 20: 2.5, 200: 2, 500: 4, 2_000: 2.2, 8_000: 1.4} if announced else {}
        assert max(found[block, quota] for quota in (0.25, 0.5)) < most.get(block, 3_000)
