"""A shard set read through a cache: opened with retries, then a `ShardSet` like any other."""

from __future__ import annotations

import time
from pathlib import Path

from llm_assets.loader.cache.counters import CacheCounters
from llm_assets.loader.cache.fetch import Fetcher
from llm_assets.loader.cache.files import CachedFiles
from llm_assets.loader.cache.settings import CacheSettings
from llm_assets.store.folder import Folder
from llm_assets.store.shard_index import INDEX_FILE
from llm_assets.store.shards import ShardMissingError, ShardSet, ShardSetIndex, ShardSetMissingError


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

    def prefetch(self, first: int, last: int) -> None:
        """Have the shards of rows `first` to `last` (exclusive) fetched in the background, the first ones first.

        Unless this is called, the shards after the one being read are fetched. Raises IndexError.
        """
        if not 0 <= first <= last <= self.rows:
            raise IndexError(f"rows {first} to {last} are not within 0 to {self.rows} of {self.uri}")
        per_shard = self.index.layout.rows_per_shard
        shards = range(first // per_shard, -(-last // per_shard) if last > first else first // per_shard)
        self._cached.prefetch([self.index.shard_file(shard) for shard in shards])

    def close(self) -> None:
        """Let go of what the cache keeps for this set. It can be read again."""
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
