"""Reads the bytes of a set's shards through the cache: a `ShardFiles` for `ShardSet`.

Guarantees that every block is compared with its checksum in the memory from which it is returned; that a damaged file
of the cache is quarantined and its shard fetched again; and that a read ends by the deadline, with its bytes or an
error that names the shard and the cause.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_assets.loader.cache.counters import CacheCounters
from llm_assets.loader.cache.errors import CacheQuotaError
from llm_assets.loader.cache.fetch import Fetcher
from llm_assets.loader.cache.folder import CacheFolder, Lease
from llm_assets.loader.cache.forks import after_fork
from llm_assets.loader.cache.settings import CacheSettings
from llm_assets.loader.cache.shard_cache import ShardCache
from llm_assets.loader.cache.shard_prefetcher import ShardPrefetcher
from llm_assets.loader.cache.table import ExpectedShard, ExpectedShards
from llm_assets.loader.cache.visit_plan import Visit, VisitPlan
from llm_assets.store.folder import Folder
from llm_assets.store.recent_blocks import RecentBlocks
from llm_assets.store.shards.shard_set import ShardCorruptError, ShardSetIndex

_TRIES = 3
"""Times a shard may come damaged from the cache before its disk is reported as faulty."""
_CLOSE_SECONDS = 5.0
"""Seconds that `close` waits for the prefetch thread, in addition to `patience_seconds`."""
_VISITS_KNOWN = 16
"""Horizon of a plan where all shards fit in the cache; else the horizon is the number of shards that fit."""
_VISIT_BLOCKS = 4
"""Blocks that a visit reads beyond its rows: one partly used block of ids, and those of the document lengths."""
_WORTH = 4
"""A shard is fetched whole if at least 1/4 of it is due to be read. Reads past the cache wait for the source, so they
must save much."""


class CachedFiles:
    """Shards of the set at `uri`. Thread-safe, picklable and fork-safe: copies and child processes open it anew.

    Raises CacheQuotaError where the quota is too small for the set, CacheFolderError, NotACacheError.
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
        """Drop the parent's locks, leases, thread and connections."""
        self._opening = threading.Lock()
        self._opened = None

    def open(self) -> None:
        """Read the table of shards and claim the folder now, instead of at the first read."""
        self._here()

    def read(self, shard: int, start: int, stop: int) -> NDArray[np.uint8]:
        """See `ShardFiles.read`. Raises ShardUnavailableError and CacheFolderError too."""
        if start == stop:
            return np.empty(0, np.uint8)
        return self._here().read(shard, start, stop)

    def announce(self, visits: Iterator[Visit]) -> Callable[[], None]:
        """Prefetch shards in the order of `visits`, until the result is called or other visits are announced."""
        return self._here().announce(visits)

    def close(self) -> None:
        """Release the lease and end the prefetch thread. A later read opens the set anew."""
        with self._opening:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close(self._settings.patience_seconds + _CLOSE_SECONDS)

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
    """The open state of a set in one process: folder, lease, prefetcher and memory of recent blocks."""

    def __init__(self, uri: str, index: ShardSetIndex, settings: CacheSettings, counters: CacheCounters) -> None:
        self._index = index
        self._settings = settings
        self._counters = counters
        fetcher = Fetcher(Folder(uri), settings.fetch, counters)
        self._shards: ExpectedShards = fetcher.whole(
            index.table_file, lambda data: ExpectedShards(uri, index, data), self._until()
        )
        self._check_quota(uri)
        cache = CacheFolder(settings.folder, settings.quota_bytes, counters)
        self._shard_cache = ShardCache(cache, fetcher, settings, counters)
        self._prefetcher = ShardPrefetcher(
            self._shard_cache, self._shards.shard, settings.fetch.deadline_seconds, counters
        )
        self._slots = settings.quota_bytes // max(1, self._shards.largest)
        self._plan: VisitPlan | None = None
        self._recent = RecentBlocks(settings.memory_bytes)
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
                f"processes and one in transfer make {needed}: raise quota_bytes to that"
            )

    def _until(self) -> float:
        return time.monotonic() + self._settings.fetch.deadline_seconds

    def read(self, number: int, start: int, stop: int) -> NDArray[np.uint8]:
        in_memory = True

        def fetch(first: int, last: int, out: NDArray[np.uint8]) -> None:
            nonlocal in_memory
            in_memory = False
            self._read(shard, first, last, out)

        with self._reading:
            shard = self._shard(number)
            data = self._recent.read(shard.key, shard, start, stop, fetch)
            self._counters.add(reads=1, hits=in_memory)
            return data

    def announce(self, visits: Iterator[Visit]) -> Callable[[], None]:
        all_stay = self._slots >= len(self._shards)
        plan = VisitPlan(visits, max(_VISITS_KNOWN, 4 * self._settings.prefetch) if all_stay else self._slots)
        with self._reading:
            self._plan = plan
            if self._current is not None:
                here = self._current.number
                if plan.next(1) == [here]:
                    plan.reach(here)
                self._prefetcher.want(self._next(here))
        return partial(self._withdraw, plan)

    def _withdraw(self, plan: VisitPlan) -> None:
        if self._plan is plan:  # no lock: a garbage-collected generator calls this in any thread, at any time
            self._plan = None

    def close(self, wait_seconds: float = 0.0) -> None:
        self._prefetcher.close(wait_seconds)
        with self._reading:
            self._let_go()

    def _shard(self, number: int) -> ExpectedShard:
        if self._current is None or self._current.number != number:
            self._current = self._shards.shard(number)
            plan = self._plan
            if plan is not None and not plan.reach(number) and plan.over:
                self._plan = None  # the reader went past the end of the plan
        return self._current

    def _read(self, shard: ExpectedShard, first: int, last: int, out: NDArray[np.uint8]) -> None:
        began, until = time.monotonic(), self._until()
        waited = False
        damage = ""
        for _ in range(_TRIES):
            lease, fetched = self._leased(shard, until)
            waited = waited or fetched
            if lease is None:
                self._shard_cache.fetch_blocks(shard, first, last, out.data, until)
                self._counters.add(direct=1, stall_seconds=time.monotonic() - began)
                return
            damage = _read_checked(lease, shard, first, out.data)
            if not damage:
                self._counters.add(hits=not waited, misses=waited)
                self._counters.add(stall_seconds=time.monotonic() - began if waited else 0.0)
                return
            self._lease = None
            self._shard_cache.quarantine(lease)
        raise ShardCorruptError(
            shard.uri,
            f"came damaged from the cache {self._settings.folder} {_TRIES} times ({damage}): check its disk",
        )

    def _leased(self, shard: ExpectedShard, until: float) -> tuple[Lease | None, bool]:
        """A lease on the shard, or None, and whether it was waited for. The process holds no other lease meanwhile."""
        if self._lease is not None and self._lease.key == shard.key:
            return self._lease, False
        self._let_go()
        waited = True
        if self._worth_fetching(shard.number):
            cached = self._shard_cache.obtain(shard, until, patient=shard.key != self._given_up)
            self._given_up = "" if cached else shard.key
            if cached is not None:
                self._lease, waited = cached.lease, cached.waited
        else:
            self._given_up = ""
            self._lease = self._shard_cache.present(shard)
            waited = self._lease is None
        if not self._given_up:
            self._prefetcher.want(self._next(shard.number))
        return self._lease, waited

    def _next(self, number: int) -> list[int]:
        """Shards to prefetch while this one is read: those announced, or those that follow it in the set."""
        count = min(self._settings.prefetch, self._slots - 1)  # more would evict each other
        plan = self._plan
        if plan is None:
            return [*range(number + 1, min(len(self._shards), number + 1 + count))]
        return [other for other in plan.next(count) if self._worth_fetching(other)]

    def _worth_fetching(self, number: int) -> bool:
        """True where so much of the shard is due before its room is needed that fetching it whole pays (`_WORTH`).

        Assumes that the other processes visit the same shards at the same time, for other rows.
        """
        plan = self._plan
        if plan is None or self._slots >= len(self._shards):
            return True
        visits, rows = plan.due(number)
        shard = self._shards.shard(number)
        read = shard.size * rows / self._index.layout.shard_rows(number, self._index.rows)
        beside = visits * self._settings.processes * _VISIT_BLOCKS * shard.block_bytes
        return visits == 0 or _WORTH * (read + beside) >= shard.size

    def _let_go(self) -> None:
        if self._lease is not None:
            self._lease.close()
            self._lease = None


def _read_checked(lease: Lease, shard: ExpectedShard, first: int, out: memoryview) -> str:
    """Read blocks from a cached file into `out` and return what is wrong with them, or an empty string."""
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
