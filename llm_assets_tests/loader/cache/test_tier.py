"""Ranges kept by a Redis server of the test's own: fetched once for all machines, and never worse than no server."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
import redis

from llm_assets.loader.cache import CachedShardSet, CacheSettings, FetchSettings, RedisSettings, open_cached
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets_tests.loader.cache.servers import free_port, stopped_at_the_end, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed"),
]


@pytest.fixture
def server(tmp_path: Path) -> Generator[RedisSettings]:
    port = free_port()
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(tmp_path)]
    with (tmp_path / "redis.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    with stopped_at_the_end(process):
        wait_for(port, process)
        yield RedisSettings(f"redis://127.0.0.1:{port}/0", timeout_seconds=0.2, pause_seconds=60)


def machine(source: ShardSet, folder: Path, server: RedisSettings) -> CachedShardSet:
    """A set read through the cache of one machine."""
    fetch = FetchSettings(range_bytes=512)
    return open_cached(source.uri, CacheSettings(folder, 1 << 20, prefetch=0, redis=server, fetch=fetch))


def test_what_one_machine_fetched_the_next_has(source: ShardSet, tmp_path: Path, server: RedisSettings) -> None:
    one, other = machine(source, tmp_path / "one", server), machine(source, tmp_path / "other", server)
    for each in (one, other):
        assert np.array_equal(each.input_ids(0, 300), source.input_ids(0, 300))
    assert one.counters.tier_hits == 0 < one.counters.bytes_fetched
    assert other.counters.tier_hits == one.counters.requests - 1  # but for the table of shards
    assert other.counters.requests == 1
    client = redis.Redis.from_url(server.url)
    assert all(0 < client.ttl(key) <= server.seconds for key in client.scan_iter())


def test_wrong_bytes_in_redis_are_fetched_again(source: ShardSet, tmp_path: Path, server: RedisSettings) -> None:
    machine(source, tmp_path / "one", server).input_ids(0, 300)
    client = redis.Redis.from_url(server.url)
    names = sorted(client.scan_iter())
    for place, name in enumerate(names):
        data = client.get(name)
        client.set(name, data[:-1] if place % 2 else bytes([data[0] ^ 1]) + data[1:])
    other = machine(source, tmp_path / "other", server)
    assert np.array_equal(other.input_ids(0, 300), source.input_ids(0, 300))
    assert other.counters.damaged == len(names) and other.counters.tier_hits == 0


def test_a_server_that_is_gone_is_asked_once(source: ShardSet, tmp_path: Path) -> None:
    gone = RedisSettings(f"redis://127.0.0.1:{free_port()}/0", timeout_seconds=0.2, pause_seconds=60)
    shards = machine(source, tmp_path / "one", gone)
    began = time.monotonic()
    assert np.array_equal(shards.input_ids(0, 300), source.input_ids(0, 300))
    assert time.monotonic() - began < 2
    assert shards.counters.tier_failures == 1
