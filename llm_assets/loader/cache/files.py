"""The bytes of a set's shards, through the cache: a `ShardFiles` that a `ShardSet` reads like any other.

Guarantees that every byte handed out was compared, as a part of its block, with the checksum of the table of shards,
in the memory it is handed out from; that a damaged file of the cache is moved aside and its shard fetched again; and
that a read ends by the deadline, with its bytes or an error that names the shard and the cause.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_assets.loader.cache.ahead import Ahead
from llm_assets.loader.cache.counters import CacheCounters
from llm_assets.loader.cache.errors import CacheQuotaError
from llm_assets.loader.cache.fetch import Fetcher
from llm_assets.loader.cache.folder import CacheFolder, Lease
from llm_assets.loader.cache.forks import after_fork
from llm_assets.loader.cache.settings import CacheSettings
from llm_assets.loader.cache.supply import Supply
from llm_assets.loader.cache.table import ExpectedShard, ExpectedShards
from llm_assets.store.folder import Folder
from llm_assets.store.shards import ShardCorruptError, ShardSetIndex, ShardTruncatedError

_TRIES = 3
"""Times a shard is read from the cache before its disk is not trusted any more."""


class CachedFiles:
    """Shards of the set at `uri`. Thread-safe, picklable and fork-safe: a copy and a child start afresh.

    Raises CacheQuotaError where the quota is below the smallest legal cache, CacheFolderError, NotACacheError.
    """

    def __init__(self, uri: str, index: ShardSetIndex, settings: CacheSettings) -> None:
        self._uri = uri
        self._index = index
        self._settings = settings
        self.counters = CacheCounters()
        self._opening = threading.Lock()
        self._opened: _Opened | None = None
        after_fork(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._uri, self._index, self._settings)

    def in_child(self) -> None:
        """A forked process shares no lock, lease, thread or connection with its parent."""
        self._opening = threading.Lock()
        self._opened = None

    def open(self) -> None:
        """Read the table of shards and claim the folder, which the first read does otherwise."""
        self._here()

    def read(self, file: str, start: int, stop: int) -> NDArray[np.uint8]:
        """See `ShardFiles.read`. Raises ShardUnavailableError and CacheFolderError too."""
        if start == stop:
            return np.empty(0, np.uint8)
        return self._here().read(file, start, stop)

    def prefetch(self, files: list[str]) -> None:
        """Have these shards fetched in the background, instead of those after the one being read."""
        self._here().prefetch(files)

    def close(self) -> None:
        """Let go of the lease, and end the thread. A later read opens anew."""
        with self._opening:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def _here(self) -> _Opened:
        with self._opening:
            if self._opened is None:
                self._opened = _Opened(self._uri, self._index, self._settings, self.counters)
                weakref.finalize(self, _close, self._opened, os.getpid()).atexit = False
            return self._opened


def _close(opened: _Opened, process: int) -> None:
    if os.getpid() == process:  # in a child, its locks may be held by threads that do not exist
        opened.close()


class _Opened:
    """What one process has open of a set."""

    def __init__(self, uri: str, index: ShardSetIndex, settings: CacheSettings, counters: CacheCounters) -> None:
        self._settings = settings
        self._counters = counters
        fetcher = Fetcher(Folder(uri), settings.fetch, counters)
        self._shards: ExpectedShards = fetcher.whole(
            index.table_file, lambda data: ExpectedShards(uri, index, data), self._until()
        )
        self._check_quota(uri)
        cache = CacheFolder(settings.folder, settings.quota_bytes, counters)
        self._supply = Supply(cache, fetcher, settings, counters)
        self._ahead = Ahead(self._supply, self._shards.shard, settings.fetch.deadline_seconds, counters)
        self._memory = _Memory(settings.memory_bytes)
        self._reading = threading.Lock()
        self._lease: Lease | None = None
        self._current: ExpectedShard | None = None
        self._given_up = ""

    def _check_quota(self, uri: str) -> None:
        needed = (self._settings.processes + 1) * self._shards.largest
        if self._settings.quota_bytes < needed:
            raise CacheQuotaError(
                f"{self._settings.folder}: a quota of {self._settings.quota_bytes} bytes is too small for {uri}: its "
                f"largest shard has {self._shards.largest} bytes, and one for each of {self._settings.processes} "
                f"processes and one on its way make {needed}"
            )

    def _until(self) -> float:
        return time.monotonic() + self._settings.fetch.deadline_seconds

    def read(self, file: str, start: int, stop: int) -> NDArray[np.uint8]:
        with self._reading:
            shard = self._shard(file)
            if not 0 <= start < stop <= shard.size:
                raise ShardTruncatedError(shard.uri, f"has {shard.size} bytes; {start} to {stop} were asked for")
            self._counters.add(reads=1)
            first, last = start // shard.block_bytes, -(-stop // shard.block_bytes)
            offset = first * shard.block_bytes
            data = self._blocks(shard, first, last)[start - offset : stop - offset]
            data.flags.writeable = False
            return data

    def prefetch(self, files: list[str]) -> None:
        self._ahead.want([self._shards.number(file) for file in files])

    def close(self) -> None:
        self._ahead.close()
        with self._reading:
            self._let_go()

    def _shard(self, file: str) -> ExpectedShard:
        if self._current is None or self._current.file != file:
            self._current = self._shards.shard(self._shards.number(file))
        return self._current

    def _blocks(self, shard: ExpectedShard, first: int, last: int) -> NDArray[np.uint8]:
        """Checked bytes of whole blocks."""
        known = [self._memory.get(shard.key, block) for block in range(first, last)]
        if len(known) == 1 and known[0] is not None:
            self._counters.add(hits=1)
            return known[0]
        missing = [first + place for place, data in enumerate(known) if data is None]
        start, stop = shard.block_range(first, last)
        out = np.empty(stop - start, np.uint8)
        for place, data in enumerate(known):
            if data is not None:
                out[place * shard.block_bytes :][: len(data)] = data
        if missing:
            low, high = shard.block_range(missing[0], missing[-1] + 1)
            self._read(shard, missing[0], missing[-1] + 1, out[low - start : high - start])
        else:
            self._counters.add(hits=1)
        for block in {first, last - 1}:  # what a neighbouring read shares with this one
            low, high = shard.block_range(block, block + 1)
            self._memory.put(shard.key, block, out[low - start : high - start])
        return out

    def _read(self, shard: ExpectedShard, first: int, last: int, out: NDArray[np.uint8]) -> None:
        began, until = time.monotonic(), self._until()
        waited = False
        damage = ""
        for _ in range(_TRIES):
            lease, fetched = self._leased(shard, until)
            waited = waited or fetched
            if lease is None:
                self._supply.fetch_blocks(shard, first, last, out.data, until)
                self._counters.add(direct=1, stall_seconds=time.monotonic() - began)
                return
            damage = _read_checked(lease, shard, first, out.data)
            if not damage:
                self._counters.add(hits=not waited, misses=waited)
                self._counters.add(stall_seconds=time.monotonic() - began if waited else 0.0)
                return
            self._lease = None
            self._supply.quarantine(lease)
        raise ShardCorruptError(
            shard.uri,
            f"came damaged from the cache {self._settings.folder} {_TRIES} times ({damage}): is its disk sound?",
        )

    def _leased(self, shard: ExpectedShard, until: float) -> tuple[Lease | None, bool]:
        """A lease on the shard, and whether it was waited for. This process holds no other one meanwhile."""
        if self._lease is not None and self._lease.key == shard.key:
            return self._lease, False
        self._let_go()
        supplied = self._supply.obtain(shard, until, patient=shard.key != self._given_up)
        if supplied is None:
            self._given_up = shard.key
            return None, True
        self._given_up = ""
        self._lease = supplied.lease
        stop = min(len(self._shards), shard.number + 1 + self._settings.ahead)
        self._ahead.want(range(shard.number + 1, stop))
        return supplied.lease, supplied.waited

    def _let_go(self) -> None:
        if self._lease is not None:
            self._lease.close()
            self._lease = None


class _Memory:
    """Blocks read last, up to so many bytes."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._blocks: OrderedDict[tuple[str, int], NDArray[np.uint8]] = OrderedDict()

    def get(self, key: str, block: int) -> NDArray[np.uint8] | None:
        data = self._blocks.get((key, block))
        if data is not None:
            self._blocks.move_to_end((key, block))
        return data

    def put(self, key: str, block: int, data: NDArray[np.uint8]) -> None:
        if (key, block) in self._blocks or len(data) > self._most:
            return
        self._blocks[key, block] = data.copy()
        self._bytes += len(data)
        while self._bytes > self._most:
            _, oldest = self._blocks.popitem(last=False)
            self._bytes -= len(oldest)


def _read_checked(lease: Lease, shard: ExpectedShard, first: int, out: memoryview) -> str:
    """Read blocks from a cached file; what is wrong with them, if anything."""
    start, _ = shard.block_range(first, first + 1)
    done = 0
    try:
        while done < len(out):
            read = os.preadv(lease.descriptor, [out[done:]], start + done)
            if read == 0:
                return f"it ends at byte {start + done}"
            done += read
    except OSError as error:
        return str(error)
    try:
        shard.check(first, out, "in the cache")
    except ShardCorruptError as error:
        return error.problem
    return ""
