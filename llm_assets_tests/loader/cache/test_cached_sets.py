"""Sets read through a cache: the same rows as read directly, whatever the cache holds and whoever else uses it."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from llm_assets.loader import TokenLoader
from llm_assets.loader.cache import (
    CachedShardSet,
    CacheQuotaError,
    CacheSettings,
    FetchSettings,
    ShardUnavailableError,
    open_cached,
)
from llm_assets.loader.cache.counters import CacheCounters
from llm_assets.loader.cache.folder import MARKER, CacheFolder, Lease, Reservation
from llm_assets.store.shards.shard_set import ShardCorruptError, ShardSet, ShardSetMissingError
from llm_assets_tests.loader.cache.conftest import BLOCK
from llm_assets_tests.loader.sets import plain, write

FETCH = FetchSettings(deadline_seconds=10, backoff_seconds=0.001, damaged_attempts=2, range_bytes=2 * BLOCK)


def cached(source: ShardSet, folder: Path, **others: Any) -> CachedShardSet:
    chosen = {"quota_bytes": 1 << 20, "fetch": FETCH} | others
    return open_cached(source.uri, CacheSettings(folder, **chosen))


def largest(source: ShardSet) -> int:
    return max(shard.bytes for shard in source.shards())


def same(left: ShardSet, right: ShardSet, first: int, last: int) -> None:
    assert np.array_equal(left.input_ids(first, last), right.input_ids(first, last))
    ours, theirs = left.document_lengths(first, last), right.document_lengths(first, last)
    assert np.array_equal(ours.offsets, theirs.offsets) and np.array_equal(ours.lengths, theirs.lengths)


def shard_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.shard"), key=lambda file: file.name)


def until_true(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not come true"
        time.sleep(0.005)


def test_any_rows_in_any_order(source: ShardSet, tmp_path: Path) -> None:
    small = cached(source, tmp_path / "small", quota_bytes=2 * largest(source), memory_bytes=3 * BLOCK)
    large = cached(source, tmp_path / "large")

    @settings(max_examples=60)
    @given(st.integers(0, source.rows), st.integers(0, source.rows))
    def check(one: int, other: int) -> None:
        for each in (small, large):
            same(each, source, min(one, other), max(one, other))

    check()
    assert small.counters.evicted and not small.counters.direct and not large.counters.evicted
    assert not small.counters.prefetch_failures and not small.counters.quarantined
    small.close()  # so that nothing is evicted while the files are measured
    assert sum(file.stat().st_size for file in shard_files(tmp_path / "small")) <= 2 * largest(source)


def test_what_is_given_out_is_read_only_and_lasts(source: ShardSet, tmp_path: Path) -> None:
    shards = cached(source, tmp_path / "c", quota_bytes=2 * largest(source))
    ids = shards.input_ids(0, 5)
    assert not ids.flags.writeable
    shards.input_ids(100, source.rows)
    shards.close()
    assert np.array_equal(ids, source.input_ids(0, 5))
    same(shards, source, 0, 5)


def test_a_loader_with_and_without_a_worker_process(source: ShardSet, tmp_path: Path) -> None:
    shards = cached(source, tmp_path / "c")
    expected = plain(TokenLoader(source, batch_size=16))
    assert plain(TokenLoader(shards, batch_size=16, prefetch=3)) == expected
    for context in ("fork", "spawn"):
        loader = TokenLoader(shards, batch_size=16)
        batches = DataLoader(loader, batch_size=None, num_workers=1, multiprocessing_context=context)
        assert plain(batches) == expected


def test_copies_and_take(source: ShardSet, tmp_path: Path) -> None:
    shards = cached(source, tmp_path / "c")
    copy = pickle.loads(pickle.dumps(shards))
    same(copy, source, 0, source.rows)
    rows = np.random.default_rng(0).integers(0, source.rows, 50)
    ids, lengths = copy.take(rows)
    expected, expected_lengths = source.take(rows)
    assert np.array_equal(ids, expected) and np.array_equal(lengths.lengths, expected_lengths.lengths)
    assert (copy.digest, copy.rows, copy.uri) == (source.digest, source.rows, source.uri)
    copy.check_files()
    copy.verify()


def test_a_process_forked_in_the_middle_of_a_read(source: ShardSet, tmp_path: Path) -> None:
    shards = cached(source, tmp_path / "c")
    done = threading.Event()

    def keep_reading() -> None:
        while not done.is_set():
            shards.input_ids(0, source.rows)

    thread = threading.Thread(target=keep_reading)
    thread.start()
    try:
        children = [
            multiprocessing.get_context("fork").Process(target=_read_all, args=(shards, source)) for _ in "1234"
        ]
        for child in children:
            child.start()
        for child in children:
            child.join(20)
        assert [child.exitcode for child in children] == [0] * 4
    finally:
        done.set()
        thread.join()


def _read_all(shards: ShardSet, source: ShardSet) -> None:
    same(shards, source, 0, source.rows)


def test_the_smallest_legal_cache(source: ShardSet, tmp_path: Path) -> None:
    for processes in (1, 4):
        quota = (processes + 1) * largest(source)
        cached(source, tmp_path / "c", quota_bytes=quota, processes=processes)
        with pytest.raises(CacheQuotaError, match=str(quota)):
            cached(source, tmp_path / "d", quota_bytes=quota - 1, processes=processes)
    assert not (tmp_path / "d").exists()


def test_the_next_shards_are_there_before_they_are_asked_for(source: ShardSet, tmp_path: Path) -> None:
    shards = cached(source, tmp_path / "c", prefetch=3)
    shards.input_ids(0, 1)
    until_true(lambda: shards.counters.prefetched == 3)
    assert len(shard_files(tmp_path / "c")) == 4
    shards.input_ids(31, 4 * 31)
    assert shards.counters.misses == 1
    withdraw = shards.announce([(250, 300)])
    until_true(lambda: len(shard_files(tmp_path / "c")) >= 6)
    misses = shards.counters.misses
    shards.input_ids(250, 251)
    assert shards.counters.misses == misses
    withdraw()
    with pytest.raises(IndexError):
        shards.announce([(0, 301)])


def test_one_fetch_serves_all(source: ShardSet, tmp_path: Path) -> None:
    one, other = cached(source, tmp_path / "c"), cached(source, tmp_path / "c")
    one.input_ids(0, source.rows)
    asked = other.counters.requests
    same(other, source, 0, source.rows)
    assert other.counters.requests == asked


def test_a_shard_that_another_process_takes_too_long_to_fetch(source: ShardSet, tmp_path: Path) -> None:
    shards = cached(source, tmp_path / "c", prefetch=0, patience_seconds=0.2)
    busy = CacheFolder(tmp_path / "c", 1 << 20, CacheCounters())
    first = source.shards()[0]
    reservation = busy.reserve(first.checksum, first.bytes, time.monotonic())
    assert isinstance(reservation, Reservation)
    began = time.monotonic()
    same(shards, source, 0, 31)
    assert 0.2 <= time.monotonic() - began < 2
    assert (shards.counters.direct, shards.counters.hits, shards.counters.misses) == (2, 1, 0)
    assert shard_files(tmp_path / "c") == []
    busy.give_up(reservation)
    same(shards, source, 0, 31)


def test_a_cache_full_of_shards_in_use(source: ShardSet, tmp_path: Path) -> None:
    quota = 2 * largest(source)
    shards = cached(source, tmp_path / "c", quota_bytes=quota)
    others = CacheFolder(tmp_path / "c", quota, CacheCounters())
    kept: list[Lease] = []
    for number in (8, 9):
        cached(source, tmp_path / "c", quota_bytes=quota, prefetch=0).input_ids(number * 31, number * 31 + 1)
        shard = source.shards()[number]
        lease = others.lease(shard.checksum, shard.bytes, time.monotonic())
        assert lease is not None
        kept.append(lease)
    same(shards, source, 0, 8 * 31)
    assert shards.counters.direct and not shards.counters.misses and not shards.counters.evicted


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_damage_in_the_cache_is_found_and_mended(memory: int, source: ShardSet, tmp_path: Path) -> None:
    shards = cached(source, tmp_path / "c", memory_bytes=memory)
    shards.input_ids(0, source.rows)
    for reservation, file in enumerate(shard_files(tmp_path / "c")):
        data = bytearray(file.read_bytes())
        data[700] ^= 1 << reservation % 8
        file.write_bytes(data)
    fresh = cached(source, tmp_path / "c", memory_bytes=memory)
    same(fresh, source, 0, source.rows)
    assert fresh.counters.quarantined == 10
    same(shards, source, 0, source.rows)
    assert len([*(tmp_path / "c").glob("*.bad")]) == 4


def test_a_disk_that_damages_what_is_written_is_named(
    source: ShardSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_zeros(reservation: Reservation, start: int, data: memoryview) -> None:
        os.pwrite(reservation.descriptor, bytes(len(data)), start)

    monkeypatch.setattr(Reservation, "write", write_zeros)
    shards = cached(source, tmp_path / "c", prefetch=0)
    with pytest.raises(ShardCorruptError, match="check its disk"):
        shards.input_ids(0, 1)
    assert shards.counters.quarantined == 3


def test_damage_at_the_source_names_shard_and_block(source: ShardSet, tmp_path: Path) -> None:
    shards = cached(source, tmp_path / "c", prefetch=0)
    file = Path(source.uri) / source.index.shard_file(2)
    data = bytearray(file.read_bytes())
    data[3 * BLOCK + 7] ^= 4
    file.write_bytes(data)
    with pytest.raises(ShardCorruptError, match=r"shard-00002\.arrow: block 3 .*as it came from the source"):
        shards.input_ids(2 * 31, 2 * 31 + 1)
    assert shards.counters.damaged == 2 and shards.counters.retries == 1
    assert shard_files(tmp_path / "c") == [] and not [*(tmp_path / "c").glob("*.part")]
    same(shards, source, 0, 62)


def test_an_unreachable_source_stops_reads_not_the_cache(source: ShardSet, tmp_path: Path) -> None:
    fetch = replace(FETCH, deadline_seconds=0.5)
    shards = cached(source, tmp_path / "c", prefetch=0, fetch=fetch)
    shards.input_ids(0, 31)
    expected = source.input_ids(0, 31).copy()
    folder = Path(source.uri) / source.index.generation
    for file in folder.glob("shard-*"):
        file.unlink()
        file.mkdir()  # an error of the filesystem that may pass
    assert np.array_equal(shards.input_ids(0, 31), expected)
    began = time.monotonic()
    with pytest.raises(
        ShardUnavailableError, match=r"shard-00001\.arrow: cannot be fetched \(\d+ attempts.*IsADirectory"
    ):
        shards.input_ids(31, 32)
    assert time.monotonic() - began < 1.5


def test_sets_of_one_name_do_not_mix(source: ShardSet, tmp_path: Path) -> None:
    cached(source, tmp_path / "c").input_ids(0, source.rows)
    before = open_cached(source.uri, CacheSettings(tmp_path / "c", 1 << 20))
    after = write(Path(source.uri), 300, seed=5, shard_rows=31)
    same(cached(after, tmp_path / "c"), after, 0, 300)
    same(before, source, 0, 300)
    assert after.digest != source.digest


def test_what_is_no_set(tmp_path: Path) -> None:
    with pytest.raises(ShardSetMissingError, match="no shard set"):
        open_cached(tmp_path, CacheSettings(tmp_path / "c", 1 << 20))
    assert not (tmp_path / "c" / MARKER).exists()


def test_an_empty_set(tmp_path: Path) -> None:
    empty = write(tmp_path / "empty", 0)
    shards = cached(empty, tmp_path / "c")
    assert shards.rows == 0 and shards.input_ids(0, 0).shape == (0, 12)


def test_settings_that_make_no_sense() -> None:
    for wrong in ({"quota_bytes": 0}, {"quota_bytes": 9, "processes": 0}, {"quota_bytes": 9, "prefetch": -1}):
        with pytest.raises(ValueError):
            CacheSettings("c", **wrong)
    for name in ("deadline_seconds", "connections", "damaged_attempts", "range_bytes"):
        with pytest.raises(ValueError, match=name):
            FetchSettings(**{name: 0})
    with pytest.raises(ValueError, match="hedge"):
        FetchSettings(hedge_quantile=1.5)
