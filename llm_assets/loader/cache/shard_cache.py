"""A read-through cache of shards: a shard is found there, or fetched by one process while the others wait.

Guarantees that bytes are compared with their block checksums before they are cached, and that no process waits for
another one longer than `patience_seconds`. `files` decides which shards are needed, and when.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_assets.loader.cache.counters import CacheCounters
from llm_assets.loader.cache.errors import CacheFolderError
from llm_assets.loader.cache.fetch import ByteRange, Fetcher
from llm_assets.loader.cache.folder import CacheFolder, Lease, Reservation, ReservationFailure
from llm_assets.loader.cache.settings import CacheSettings
from llm_assets.loader.cache.table import ExpectedShard
from llm_assets.store.shards.shard_set import ShardCorruptError

if TYPE_CHECKING:
    from llm_assets.loader.cache.tier import Tier

_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.01


@dataclass(frozen=True)
class CachedShard:
    """A lease on a cached shard; `waited` where it had to be fetched or waited for."""

    lease: Lease
    waited: bool


class ShardCache:
    """Caches the shards of one set. Thread-safe; not across a fork. Raises ImportError without the extra `redis`."""

    def __init__(self, folder: CacheFolder, fetcher: Fetcher, settings: CacheSettings, counters: CacheCounters) -> None:
        self._tier = _tier(settings, counters)
        self._folder = folder
        self._fetcher = fetcher
        self._settings = settings
        self._counters = counters

    def obtain(self, shard: ExpectedShard, until: float, *, patient: bool = True) -> CachedShard | None:
        """A lease on the shard, fetched if necessary; None where there is no room for it, or patience ends.

        Without `patient` it does not wait for another process that is fetching the shard. Raises what `Fetcher` raises.
        """
        waited = False
        pause = _FIRST_PAUSE
        now = time.monotonic()
        patience = now + min(self._settings.patience_seconds, (until - now) / 2)  # leaves time to fetch it here
        while True:
            lease = self._folder.lease(shard.key, shard.size, patience)
            if lease is not None:
                return CachedShard(lease, waited)
            waited = True
            reservation = self._folder.reserve(shard.key, shard.size, patience)
            if reservation is ReservationFailure.NO_ROOM:
                return None
            if isinstance(reservation, Reservation):
                lease = self._fetched(shard, reservation, until)
                if lease is not None:
                    return CachedShard(lease, waited)
            elif not patient:
                return None
            if time.monotonic() >= patience:
                return None
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def present(self, shard: ExpectedShard) -> Lease | None:
        """A lease on the shard if it is cached, else None; fetches nothing."""
        return self._folder.lease(shard.key, shard.size, time.monotonic() + self._settings.patience_seconds)

    def cancel(self, thread: threading.Thread) -> None:
        """Cancel the fetch of a thread: it gets CancelledError (of concurrent.futures) and gives up its reservation."""
        self._fetcher.cancel(thread)

    def quarantine(self, lease: Lease) -> None:
        """Move a damaged shard aside. Raises CacheFolderError where this user may not."""
        self._folder.quarantine(lease, time.monotonic() + self._settings.patience_seconds)

    def fetch_blocks(self, shard: ExpectedShard, first: int, last: int, out: memoryview, until: float) -> None:
        """Fetch and check blocks `first` to `last` (exclusive) into `out`. Raises what `Fetcher` raises."""
        offset, _ = shard.block_range(first, last)

        def write(start: int, data: memoryview) -> None:
            out[start - offset : start - offset + len(data)] = data

        self._fetch(shard, self._ranges(shard, first, last), write, until)

    def _fetched(self, shard: ExpectedShard, reservation: Reservation, until: float) -> Lease | None:
        """Fetch the shard and publish it. None where it could not be published, or was evicted at once."""

        def write(start: int, data: memoryview) -> None:
            try:
                reservation.write(start, data)
            except OSError as error:
                raise CacheFolderError(f"{self._folder.path} cannot be written to: {error.strerror}") from error

        try:
            self._fetch(shard, self._ranges(shard, 0, len(shard.blocks)), write, until)
        except BaseException:
            self._folder.give_up(reservation)
            raise
        return self._folder.publish(reservation, min(until, time.monotonic() + self._settings.patience_seconds))

    def _fetch(
        self, shard: ExpectedShard, ranges: list[ByteRange], write: Callable[[int, memoryview], None], until: float
    ) -> None:
        """Fetch ranges of whole blocks, check them, and pass them to `write`."""
        tier = self._tier

        def receive(start: int, data: bytes) -> None:
            shard.check(start // shard.block_bytes, memoryview(data), "as it came from the source")
            write(start, memoryview(data))
            if tier is not None:
                tier.put(shard.key, start, data)

        if tier is not None:
            ranges = [wanted for wanted in ranges if not self._from_tier(tier, shard, wanted, write)]
        self._fetcher.ranges(shard.file, ranges, receive, until)

    def _from_tier(
        self, tier: Tier, shard: ExpectedShard, wanted: ByteRange, write: Callable[[int, memoryview], None]
    ) -> bool:
        data = tier.get(shard.key, wanted.start, wanted.stop)
        if data is None:
            return False
        try:
            if len(data) != wanted.stop - wanted.start:
                raise ShardCorruptError(shard.uri, f"{len(data)} bytes from Redis")
            shard.check(wanted.start // shard.block_bytes, memoryview(data), "as it came from Redis")
        except ShardCorruptError:
            self._counters.add(damaged=1)  # the source has better ones
            return False
        write(wanted.start, memoryview(data))
        self._counters.add(tier_hits=1)
        return True

    def _ranges(self, shard: ExpectedShard, first: int, last: int) -> list[ByteRange]:
        step = max(1, self._settings.fetch.range_bytes // shard.block_bytes)
        return [ByteRange(*shard.block_range(block, min(last, block + step))) for block in range(first, last, step)]


def _tier(settings: CacheSettings, counters: CacheCounters) -> Tier | None:
    if settings.redis is None:
        return None
    from llm_assets.loader.cache.tier import Tier  # redis is an extra

    return Tier(settings.redis, counters)
