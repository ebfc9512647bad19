"""Sets on an S3 server, through a proxy that goes wrong: right rows, or one error that names the file, in time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from llm_assets.loader import TokenLoader
from llm_assets.loader.cache import CacheSettings, FetchSettings, ShardUnavailableError, open_cached
from llm_assets.store.shards.shard_set import (
    ShardCorruptError,
    ShardMissingError,
    ShardSet,
    ShardSetMissingError,
    ShardTruncatedError,
)
from llm_assets_tests.loader.cache.servers import Faults, FaultyProxy, S3Server
from llm_assets_tests.loader.sets import plain

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("s3")]

FETCH = FetchSettings(
    deadline_seconds=20, attempt_seconds=1, backoff_seconds=0.01, backoff_most_seconds=0.1, hedge_seconds=0.3
)


@pytest.fixture
def settings(tmp_path: Path) -> CacheSettings:
    return CacheSettings(tmp_path / "cache", quota_bytes=1 << 20, fetch=FETCH)


def test_a_loader_gives_the_batches_of_the_local_set(
    s3: S3Server, proxy: FaultyProxy, source: ShardSet, settings: CacheSettings
) -> None:
    cached = open_cached(s3.upload(Path(source.uri), "plain"), settings)
    batches = plain(TokenLoader(cached, batch_size=20, validate=True))
    assert batches == plain(TokenLoader(source, batch_size=20))
    assert cached.counters.retries == 0
    requests = cached.counters.requests
    assert plain(TokenLoader(cached, batch_size=20)) == batches
    assert cached.counters.requests == requests


def test_right_rows_through_all_faults(
    s3: S3Server, proxy: FaultyProxy, source: ShardSet, settings: CacheSettings
) -> None:
    uri = s3.upload(Path(source.uri), "faults")
    kinds = ["busy", "stall", "reset", "cut", "short", "flip", "slow"]
    proxy.faults = Faults(dict.fromkeys(kinds, 0.06), seed=1, stall_seconds=3)
    cached = open_cached(uri, replace(settings, fetch=replace(FETCH, range_bytes=512, damaged_attempts=10)))
    for first in range(0, 300, 25):
        assert (cached.input_ids(first, first + 25) == source.input_ids(first, first + 25)).all()
    counters = cached.counters
    assert {*proxy.faults.injected} == {*kinds, "none"}, proxy.faults.injected
    assert counters.retries and counters.hedges and counters.hedges_won and counters.damaged, counters


@pytest.mark.parametrize("kind", ["busy", "stall", "reset", "cut", "short", "flip"])
def test_a_source_that_stays_bad_is_one_error_within_the_deadline(
    kind: str, s3: S3Server, proxy: FaultyProxy, source: ShardSet, settings: CacheSettings
) -> None:
    uri = s3.upload(Path(source.uri), "bad")
    cached = open_cached(uri, replace(settings, fetch=replace(FETCH, deadline_seconds=3)))
    proxy.faults = Faults({kind: 1.0}, stall_seconds=10)
    began = time.monotonic()
    with pytest.raises((ShardUnavailableError, ShardCorruptError, ShardTruncatedError)) as raised:
        cached.input_ids(0, 40)
    assert time.monotonic() - began < 3.5
    assert f"{uri}/{source.index.shard_file(0)}" in str(raised.value)
    proxy.faults = Faults()
    assert (cached.input_ids(0, 40) == source.input_ids(0, 40)).all()


def test_what_is_not_there_is_said_at_once(
    s3: S3Server, proxy: FaultyProxy, source: ShardSet, settings: CacheSettings
) -> None:
    with pytest.raises(ShardSetMissingError, match=r"nowhere/index\.json"):
        open_cached(f"s3://{s3.bucket}/nowhere", settings)
    uri = s3.upload(Path(source.uri), "gap")
    file = source.index.shard_file(3)
    s3.client().delete_object(Bucket=s3.bucket, Key=f"gap/{file}")
    cached = open_cached(uri, settings)
    with pytest.raises(ShardMissingError, match=file):
        cached.input_ids(100, 101)
    with pytest.raises(ShardMissingError, match=file):
        cached.check_files()
    assert cached.counters.retries == 0


_READ_AND_END = """
import sys
from llm_assets.loader.cache import CacheSettings, open_cached
shards = open_cached(sys.argv[1], CacheSettings(sys.argv[2], 1 << 20, prefetch=5))
shards.input_ids(0, 1)
print("read", flush=True)
sys.stdin.readline()
"""


def test_a_process_ends_while_its_source_hangs(
    s3: S3Server, proxy: FaultyProxy, source: ShardSet, tmp_path: Path
) -> None:
    uri = s3.upload(Path(source.uri), "hang")
    proxy.faults = Faults({"slow": 1.0}, slow_seconds=0.2)
    command = [sys.executable, "-c", _READ_AND_END, uri, str(tmp_path / "cache")]
    environment = os.environ | {"AWS_ENDPOINT_URL": proxy.url, "PYTHONPATH": str(Path(__file__).parents[3])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "read\n"
        proxy.faults = Faults({"stall": 1.0}, stall_seconds=60)
        began = time.monotonic()
        _, said = process.communicate("\n", timeout=30)
        assert (process.returncode, said) == (0, "")
        assert time.monotonic() - began < 5
