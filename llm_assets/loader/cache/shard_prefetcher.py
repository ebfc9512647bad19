"""Shards fetched before they are asked for, by one thread.

Guarantees that what is wanted now comes before what was wanted earlier, and that a failure is counted and logged:
whoever needs the shard meets it himself. The thread ends with its process and never keeps it alive; once `close` has
waited for it, nothing more is written. Which shards are wanted is decided elsewhere.
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
    """Fetches the shards wanted last, one after the other. `shard` gives what is known of a shard."""

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
        """Fetch these shards next, instead of what was wanted before."""
        with self._changed:
            self._wanted = list(numbers)
            if self._wanted and self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._work, name="shards-ahead", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self, wait_seconds: float = 0.0) -> None:
        """Let the thread end: what it fetches is cancelled and given up. Waits for that, but not for ever."""
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
