"""A shard set read through a cache: opened with retries, then a `ShardSet` like any other."""

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
    """A set whose shards are read through a cache on local disk: whatever takes a `ShardSet` takes it.

    Beside what `ShardSet` raises, reading raises ShardUnavailableError and CacheFolderError.
    """

    def __init__(self, folder: Folder, index: ShardSetIndex, files: CachedFiles) -> None:
        super().__init__(folder, index, files)
        self._cached = files

    @property
    def counters(self) -> CacheCounters:
        """What the cache did for this set in this process, for metrics."""
        return self._cached.counters

    def announce(self, ranges: Iterable[tuple[int, int]]) -> Callable[[], None]:
        """Say that rows `first` to `last` (exclusive) are read next, range by range: what is fetched ahead follows it.

        `ranges` may be endless; it is asked as reading goes on, by whoever reads. It takes the place of what was
        announced before. The result withdraws it, from any thread, without waiting. While nothing is announced, the
        shards after the one being read are fetched. Raises IndexError, here or when the range comes near.
        """
        return self._cached.announce(self._visits(ranges))

    def _visits(self, ranges: Iterable[tuple[int, int]]) -> Iterator[Visit]:
        for first, last in ranges:
            if not 0 <= first <= last <= self.rows:
                raise IndexError(f"rows {first} to {last} are not within 0 to {self.rows} of {self.uri}")
            for shard, start, stop in self.index.layout.within_shards(first, last):
                yield Visit(shard, stop - start)

    def close(self) -> None:
        """Let go of what the cache keeps for this set, and of what is on its way. It can be read again.

        Nothing is written to the folder afterwards, unless the set is read. Waits for reads of other threads.
        """
        self._cached.close()


def open_cached(where: str | Path | Folder, cache: CacheSettings) -> CachedShardSet:
    """The set committed in a folder, on any filesystem, to be read through a cache.

    Reads the index and the table of shards; `check_files` of the set sees whether all shards are there.
    Raises ShardSetMissingError, IndexMalformedError, IndexVersionError, ShardMissingError, ShardCorruptError,
    ShardUnavailableError, CacheQuotaError, NotACacheError, CacheFolderError.
    """
    folder = where if isinstance(where, Folder) else Folder(str(where))
    if folder.is_local:
        folder = Folder(folder.path)  # absolute, for a process that works elsewhere
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
