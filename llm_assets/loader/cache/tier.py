"""Ranges that other machines fetched recently, kept by a Redis server.

Guarantees that a server that is slow, full or gone never fails a read: it costs one timeout per pause and is counted.
The reader checks the bytes, like those of the source. Needs the extra `redis`.
"""

from __future__ import annotations

import logging
import time
from typing import cast

import redis

from llm_assets.loader.cache.counters import CacheCounters
from llm_assets.loader.cache.settings import RedisSettings

_LOG = logging.getLogger(__name__)


class Tier:
    """A Redis server with ranges of shards, by the checksum of the shard. Thread-safe; not for use across a fork."""

    def __init__(self, settings: RedisSettings, counters: CacheCounters) -> None:
        self._settings = settings
        self._counters = counters
        timeout = settings.timeout_seconds
        self._client = redis.Redis.from_url(settings.url, socket_timeout=timeout, socket_connect_timeout=timeout)
        self._silent_until = 0.0

    def get(self, key: str, start: int, stop: int) -> bytes | None:
        """A range of a shard; None where the server does not have it, or does not answer."""
        if time.monotonic() < self._silent_until:
            return None
        try:
            return cast("bytes | None", self._client.get(_name(key, start, stop)))
        except redis.RedisError as error:
            self._pause(error)
            return None

    def put(self, key: str, start: int, data: bytes) -> None:
        """Store a range of a shard on the server."""
        if time.monotonic() < self._silent_until:
            return
        try:
            self._client.set(_name(key, start, start + len(data)), data, ex=self._settings.seconds)
        except redis.RedisError as error:
            self._pause(error)

    def _pause(self, error: redis.RedisError) -> None:
        self._silent_until = time.monotonic() + self._settings.pause_seconds
        self._counters.add(tier_failures=1)
        _LOG.warning("Redis is not asked for %g s: %s", self._settings.pause_seconds, error)


def _name(key: str, start: int, stop: int) -> str:
    return f"llm-assets:{key}:{start}-{stop}"
