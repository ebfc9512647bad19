"""Reads shard sets of an object store through a cache on local disk: start with `open_cached`."""

from llm_assets.loader.cache.counters import CacheCounters
from llm_assets.loader.cache.errors import (
    CacheFolderError,
    CacheQuotaError,
    NotACacheError,
    ShardUnavailableError,
)
from llm_assets.loader.cache.sets import CachedShardSet, open_cached
from llm_assets.loader.cache.settings import CacheSettings, FetchSettings, RedisSettings

__all__ = [
    "CacheCounters",
    "CacheFolderError",
    "CacheQuotaError",
    "CacheSettings",
    "CachedShardSet",
    "FetchSettings",
    "NotACacheError",
    "RedisSettings",
    "ShardUnavailableError",
    "open_cached",
]
