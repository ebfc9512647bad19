"""A shard set read through a cache. Opening it retries failed requests; then it is used like any `ShardSet`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from llm_assets.loader.cache.counters import CacheCounters
from llm_assets.loader.cache.fetch import Fetcher
from llm_assets.loader.cache.files import CachedFiles
from llm_assets.loader.cache.settings import CacheSettings
from llm_assets.loader.cache.visit_plan import Visit
from llm_assets.store.folder import Folder
from llm_assets.store.shards.index import INDEX_FILE
from llm_assets.store.shards.shard_set import ShardMissingError, ShardSet, ShardSetIndex, ShardSetMissingError


class CachedShardSet(ShardSet):
    """A shard set that is read through a cache on local disk.

    Reading raises what `ShardSet` raises, ShardUnavailableError and CacheFolderError.
    """

    def __init__(self, folder: Folder, index: ShardSetIndex, files: CachedFiles) -> None:
        super().__init__(folder, index, files)
        self._cached = files

    @property
    def counters(self) -> CacheCounters:
        """Counters of the cache for this set in this process."""
        return self._cached.counters

    def announce(self, ranges: Iterable[tuple[int, int]]) -> Callable[[], None]:
        """Announce the row ranges (first, last; exclusive) that will be read next, so that their shards are prefetched.

        `ranges` may be endless; it is consumed by the reading thread, as reading goes on. It replaces an earlier
        announcement. Call the result to withdraw it, from any thread, without blocking. Without an announcement, the
        shards after the current one are prefetched. Raises IndexError, now or when an invalid range comes near.
        """
        return self._cached.announce(self._visits(ranges))

    def _visits(self, ranges: Iterable[tuple[int, int]]) -> Iterator[Visit]:
        for first, last in ranges:
            if not 0 <= first <= last <= self.rows:
                raise IndexError(f"rows {first} to {last} are not within 0 to {self.rows} of {self.uri}")
            for shard, start, stop in self.index.layout.within_shards(first, last):
                yield Visit(shard, stop - start)

    def close(self) -> None:
        """Release the lease, cancel fetches and end the prefetch thread. Reading opens the set again.

        Nothing is written to the folder afterwards, unless the set is read. Waits for reads of other threads.
        """
        self._cached.close()


def open_cached(where: str | Path | Folder, cache: CacheSettings) -> CachedShardSet:
    """Open the set committed in a folder, on any filesystem, to read it through a cache.

    Reads the index and the table of shards; call `check_files` of the set to check that all shards are there.
    Raises ShardSetMissingError, IndexMalformedError, IndexVersionError, ShardMissingError, ShardCorruptError,
    ShardUnavailableError, CacheQuotaError, NotACacheError, CacheFolderError.
    """
    folder = where if isinstance(where, Folder) else Folder(str(where))
    if folder.is_local:
        folder = Folder(folder.path)  # absolute, for a process with another working directory
    file = f"{folder.uri}/{INDEX_FILE}"
    fetcher = Fetcher(folder, cache.fetch, CacheCounters())
    try:
        index = fetcher.whole(
            INDEX_FILE,
            lambda data: ShardSetIndex.from_bytes(data, file),
            time.monotonic() + cache.fetch.deadline_seconds,
        )
    except ShardMissingError as error:
        raise ShardSetMissingError(file, "no shard set is committed here") from error
    files = CachedFiles(folder.uri, index, cache)
    files.open()
    return CachedShardSet(folder, index, files)
