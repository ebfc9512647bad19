"""Prefetches shards into the cache in one background thread.

Guarantees that the latest request replaces earlier ones, and that a failure is counted and logged, not raised: the
read that needs the shard will raise it. The thread never keeps its process alive, and writes nothing more once `close`
has waited for it. `files` decides which shards to prefetch.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError

from llm_assets.loader.cache.counters import CacheCounters
from llm_assets.loader.cache.errors import CacheFolderError
from llm_assets.loader.cache.shard_cache import ShardCache
from llm_assets.loader.cache.table import ExpectedShard
from llm_assets.store.shards.shard_set import ShardSetError

_LOG = logging.getLogger(__name__)


class ShardPrefetcher:
    """Fetches the shards requested last, one by one. `shard` looks up a shard by its number."""

    def __init__(
        self,
        shard_cache: ShardCache,
        shard: Callable[[int], ExpectedShard],
        deadline_seconds: float,
        counters: CacheCounters,
    ) -> None:
        self._shard_cache = shard_cache
        self._shard = shard
        self._deadline_seconds = deadline_seconds
        self._counters = counters
        self._changed = threading.Condition()
        self._wanted: list[int] = []
        self._closed = False
        self._thread: threading.Thread | None = None

    def want(self, numbers: Sequence[int]) -> None:
        """Fetch these shards next, in place of those requested before."""
        with self._changed:
            self._wanted = list(numbers)
            if self._wanted and self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._work, name="shards-ahead", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self, wait_seconds: float = 0.0) -> None:
        """Cancel the fetch in progress and end the thread; wait for that up to `wait_seconds`."""
        with self._changed:
            self._closed = True
            self._wanted = []
            self._changed.notify()
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return
        self._shard_cache.cancel(thread)
        thread.join(wait_seconds)
        if wait_seconds and thread.is_alive():
            _LOG.warning("a shard is still being fetched ahead, %g s after its set was closed", wait_seconds)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted or self._closed)
                if self._closed:
                    return
                number = self._wanted.pop(0)
            self._fetch(number)

    def _fetch(self, number: int) -> None:
        try:
            cached = self._shard_cache.obtain(
                self._shard(number), time.monotonic() + self._deadline_seconds, patient=False
            )
        except CancelledError:  # closed
            return
        except (ShardSetError, CacheFolderError, OSError) as error:
            self._counters.add(prefetch_failures=1)
            _LOG.warning("a shard could not be fetched ahead: %s", error)
            return
        if cached is not None:
            self._counters.add(prefetched=cached.waited)
            cached.lease.close()
