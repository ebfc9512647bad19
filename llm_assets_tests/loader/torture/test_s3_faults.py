"""Ranks that train from an S3 server behind a proxy that goes wrong: right batches; where it stays bad, an error on
every rank within the deadline.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm_assets.loader import TokenLoader
from llm_assets.loader.cache import CachedShardSet, CacheSettings, FetchSettings, open_cached
from llm_assets.store.shards import writer as shard_writer
from llm_assets.store.shards.shard_set import ShardSet, ShardSetError
from llm_assets_tests.loader.cache.servers import CREDENTIALS, Faults, FaultyProxy, S3Server
from llm_assets_tests.loader.sets import write
from llm_assets_tests.loader.torture.trials import FULL, seed, trials

pytestmark = [pytest.mark.torture, pytest.mark.timeout(1800), pytest.mark.xdist_group("s3")]

WORLD, BATCH, SHARD_ROWS = 4, 16, 61
STEP_SECONDS = 0.005
FAULTS = ("busy", "stall", "reset", "cut", "short", "flip", "slow")
FETCH = FetchSettings(
    attempt_seconds=1,
    backoff_seconds=0.02,
    backoff_most_seconds=0.5,
    hedge_seconds=0.3,
    damaged_attempts=8,
    range_bytes=1024,
)
CONTEXT = multiprocessing.get_context("forkserver")


def chain(batches: Sequence[Any]) -> str:
    """One hash of all ids, in order."""
    digest = hashlib.sha256()
    for batch in batches:
        digest.update(batch["input_ids"].numpy().tobytes())
    return digest.hexdigest()


def train(url: str, uri: str, settings: CacheSettings, rank: int, told: Path) -> None:
    """One rank: reads all its batches, one per step, and tells how long it waited for each."""
    shards = opened(url, uri, settings)
    batches, waits = [], []
    loader = iter(TokenLoader(shards, batch_size=BATCH, rank=rank, world_size=WORLD, prefetch=2))
    while True:
        began = time.perf_counter()
        batch = next(loader, None)
        waits.append(time.perf_counter() - began)
        if batch is None:
            break
        batches.append(batch)
        time.sleep(STEP_SECONDS)
    told.write_text(json.dumps({"chain": chain(batches), "waits": waits, "counters": shards.counters.as_dict()}))


def fail(url: str, uri: str, settings: CacheSettings, rank: int, told: Path) -> None:
    """One rank: opens the set, waits until the source is bad, and tells which error it met after how long."""
    shards = opened(url, uri, settings)
    loader = iter(TokenLoader(shards, batch_size=BATCH, rank=rank, world_size=WORLD, prefetch=2))
    told.with_suffix(".ready").touch()
    wait_until(told.with_name("go").exists)
    began = time.perf_counter()
    try:
        next(loader)
        error = "none"
    except ShardSetError as raised:
        error = str(raised)
    told.write_text(json.dumps({"error": error, "seconds": time.perf_counter() - began}))


def opened(url: str, uri: str, settings: CacheSettings) -> CachedShardSet:
    os.environ |= {**CREDENTIALS, "AWS_ENDPOINT_URL": url}
    return open_cached(uri, settings)


def wait_until(condition: Callable[[], bool], seconds: float = 240) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def ranks(work: Callable[..., None], *arguments: Any, told: Path) -> list[BaseProcess]:
    CONTEXT.set_forkserver_preload([__name__])
    started = [
        CONTEXT.Process(target=work, args=(*arguments, rank, told / f"rank-{rank}.json")) for rank in range(WORLD)
    ]
    for process in started:
        process.start()
    return started


def ended(processes: list[BaseProcess], told: Path) -> list[dict[str, Any]]:
    for process in processes:
        process.join(900)
    assert [process.exitcode for process in processes] == [0] * WORLD
    return [json.loads((told / f"rank-{rank}.json").read_text()) for rank in range(WORLD)]


def source_of(tmp_path: Path, rows: int) -> ShardSet:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_writer, "BLOCK_BYTES", 512)
        return write(tmp_path / "source", rows, shard_rows=SHARD_ROWS)


def test_ranks_get_their_batches_whatever_goes_wrong(s3: S3Server, proxy: FaultyProxy, tmp_path: Path) -> None:
    rows = trials(10_000)
    source = source_of(tmp_path, rows)
    uri = s3.upload(Path(source.uri), "train")
    largest = max(shard.bytes for shard in source.shards())
    settings = CacheSettings(tmp_path / "cache", (WORLD + 2) * largest, WORLD, prefetch=2, fetch=FETCH)
    proxy.faults = Faults(dict.fromkeys(FAULTS, 0.04), seed(), stall_seconds=10)
    told = ended(ranks(train, proxy.url, uri, settings, told=tmp_path), tmp_path)

    for rank, found in enumerate(told):
        batches = [*TokenLoader(source, batch_size=BATCH, rank=rank, world_size=WORLD)]
        assert found["chain"] == chain(batches), f"rank {rank}"
    waits = np.concatenate([found["waits"] for found in told])
    together = {name: sum(found["counters"][name] for found in told) for name in told[0]["counters"]}
    quantiles = ", ".join(f"p{100 * q:g} {1000 * np.quantile(waits, q):.1f} ms" for q in (0.5, 0.99, 0.999))
    print(f"{s3.name}: {len(waits)} batches: wait {quantiles}, longest {waits.max():.2f} s")
    print(f"injected {dict(proxy.faults.injected)}\nranks {together}")
    assert sum(proxy.faults.injected.values()) > proxy.faults.injected["none"] > 0
    assert together["retries"] and together["bytes_fetched"] and not together["quarantined"]
    assert waits.max() < FETCH.deadline_seconds


@pytest.mark.parametrize("kind", ["stall", "busy", "reset", "cut", "flip"] if FULL else ["stall"])
def test_every_rank_fails_within_the_deadline(kind: str, s3: S3Server, proxy: FaultyProxy, tmp_path: Path) -> None:
    deadline = 6.0
    source = source_of(tmp_path, 300)
    uri = s3.upload(Path(source.uri), f"fail-{kind}")
    fetch = FetchSettings(deadline_seconds=deadline, attempt_seconds=1, backoff_seconds=0.02, range_bytes=1024)
    settings = CacheSettings(tmp_path / "cache", 1 << 20, WORLD, fetch=fetch)
    processes = ranks(fail, proxy.url, uri, settings, told=tmp_path)
    wait_until(lambda: len([*tmp_path.glob("*.ready")]) == WORLD or not all(each.is_alive() for each in processes))
    proxy.faults = Faults({kind: 1.0}, stall_seconds=20)
    (tmp_path / "go").touch()
    for found in ended(processes, tmp_path):
        assert f"{uri}/{source.index.shard_file(0)}: " in found["error"], found
        assert found["seconds"] < deadline + 10, found  # what a busy machine takes to say so
        print(f"{s3.name}: {found['seconds']:.1f} s: {found['error']}")
