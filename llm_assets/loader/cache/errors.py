"""Errors of a cache, in addition to those of `llm_assets.store.shards.shard_set` about the sets themselves."""

from __future__ import annotations

from llm_assets.errors import LlmAssetsError
from llm_assets.store.shards.shard_set import ShardSetError


class ShardUnavailableError(ShardSetError):
    """A file of a set could not be fetched within the deadline. The message names the file and the last cause."""


class CacheFolderError(LlmAssetsError):
    """The folder of a cache cannot be used. The message names it and the reason."""


class NotACacheError(CacheFolderError):
    """The folder holds files that are not a cache's. Nothing in it was changed."""


class CacheQuotaError(CacheFolderError):
    """The quota is smaller than the least that reading the set through a cache needs."""
