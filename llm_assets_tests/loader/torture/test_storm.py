"""Eight processes, the smallest legal cache, and kill -9: nobody hangs, nothing is left over, the source is untouched.

`make torture` kills 400 processes, `make test` 40. One in five is stopped for a while before, as by a debugger.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

from llm_assets.loader.cache import CacheSettings, FetchSettings, open_cached
from llm_assets.loader.cache.folder import MARKER
from llm_assets.store.shards import writer as shard_writer
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets_tests.loader.sets import write
from llm_assets_tests.loader.torture import slow_files
from llm_assets_tests.loader.torture.trials import seed, trials

pytestmark = [pytest.mark.torture, pytest.mark.timeout(1800)]

READERS, ROWS, SHARD_ROWS = 8, 600, 31
PATIENCE = 0.5


def read_until(stop: Path, source: Path, settings: CacheSettings, number: int) -> None:
    """Reads random rows and compares them, until there is a file named `stop`."""
    chance = random.Random(number)
    expected, shards = ShardSet.open(source), open_cached(f"slow://{source}", settings)
    while not stop.exists():
        first = chance.randrange(ROWS)
        last = min(ROWS, first + chance.randint(1, 2 * SHARD_ROWS))
        assert np.array_equal(shards.input_ids(first, last), expected.input_ids(first, last))
        ours, theirs = shards.document_lengths(first, last), expected.document_lengths(first, last)
        assert np.array_equal(ours.offsets, theirs.offsets) and np.array_equal(ours.lengths, theirs.lengths)
    assert not shards.counters.quarantined and not shards.counters.prefetch_failures, shards.counters
    (stop.parent / f"reads-{number}").write_text(f"{shards.counters.reads} {shards.counters.direct}")


def test_storm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed())
    monkeypatch.setattr(shard_writer, "BLOCK_BYTES", 256)
    source = write(tmp_path / "source", ROWS, shard_rows=SHARD_ROWS)
    sound = {file: file.read_bytes() for file in (tmp_path / "source").rglob("*") if file.is_file()}
    quota = (READERS + 1) * max(shard.bytes for shard in source.shards())
    fetch = FetchSettings(deadline_seconds=60, range_bytes=512, connections=2)
    cache, stop = tmp_path / "cache", tmp_path / "stop"
    settings = CacheSettings(cache, quota, READERS, memory_bytes=1 << 10, patience_seconds=PATIENCE, fetch=fetch)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, slow_files.__name__])
    started = 0

    def start() -> BaseProcess:
        nonlocal started
        started += 1
        reader = context.Process(target=read_until, args=(stop, tmp_path / "source", settings, started))
        reader.start()
        return reader

    readers = [start() for _ in range(READERS)]
    kills, most = trials(400), 0
    while not (cache / MARKER).exists():
        time.sleep(0.01)
    for _ in range(kills):
        time.sleep(chance.uniform(0, 0.1))
        place = chance.randrange(READERS)
        reader = readers[place]
        assert reader.is_alive(), f"reader ended by itself with {reader.exitcode}"
        assert reader.pid is not None
        if chance.random() < 0.2:
            os.kill(reader.pid, signal.SIGSTOP)
            time.sleep(chance.uniform(0, 2 * PATIENCE))
        os.kill(reader.pid, signal.SIGKILL)
        reader.join()
        readers[place] = start()
        most = max(most, bytes_in(cache))
    time.sleep(2)
    stop.touch()
    for reader in readers:
        reader.join(30)
    assert [reader.exitcode for reader in readers] == [0] * READERS
    counts = [[int(word) for word in file.read_text().split()] for file in tmp_path.glob("reads-*")]
    reads, direct = np.sum(counts, axis=0)
    print(f"{kills} kills; at most {most} of {quota} bytes; the last readers: {reads} reads, {direct} past the cache")
    assert most <= quota
    assert {file: file.read_bytes() for file in (tmp_path / "source").rglob("*") if file.is_file()} == sound

    last = open_cached(source.uri, settings)
    assert np.array_equal(last.input_ids(0, ROWS), source.input_ids(0, ROWS))
    last.close()
    left = [file.suffix for file in cache.iterdir() if file.name != MARKER]
    assert {*left} == {".shard"}, left
    assert last.counters.evicted and not last.counters.quarantined


def bytes_in(cache: Path) -> int:
    """What all files take, while nobody may add one; 0 where a killed or busy process does not let it be known."""
    with (cache / MARKER).open() as marker:
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        sizes: dict[int, int] = {}
        for file in cache.iterdir():
            try:
                found = file.stat()
            except FileNotFoundError:  # published meanwhile
                continue
            sizes[found.st_ino] = 0 if file.name == MARKER else found.st_size
        return sum(sizes.values())
