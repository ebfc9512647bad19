"""What can go wrong with a cache, beside what `llm_assets.store.shards.shard_set` raises of the sets themselves."""

from __future__ import annotations

from llm_assets.store.shards.shard_set import ShardSetError


class ShardUnavailableError(ShardSetError):
    """A file of a set could not be fetched within the deadline. Names the file and the last cause."""


class CacheFolderError(Exception):
    """Something is wrong with the folder of a cache. The message names it."""


class NotACacheError(CacheFolderError):
    """The folder holds something else: nothing in it is touched."""


class CacheQuotaError(CacheFolderError):
    """The quota is smaller than the smallest cache that the set can be read through."""
