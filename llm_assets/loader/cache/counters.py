"""Counters of a cache that a metrics exporter can read at any time.

Guarantees that the counters only grow, and that concurrent updates are not lost.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields

from llm_assets.loader.cache.forks import after_fork


@dataclass(eq=False)
class CacheCounters:
    """Counts of one process since it opened the set. Read the attributes; change them with `add`.

    `reads` are reads of rows or lengths, each within one shard: `hits` were served from memory or the cache, `misses`
    waited for a shard to be fetched, and `direct` ones fetched their blocks past the cache, because all cached shards
    were in use, another process took too long, or too little of the shard was due to be read. `stall_seconds` is the
    time that `misses` and `direct` reads waited.

    `requests` went to the source: `retries` repeat a failed one, `hedges` duplicate a slow one, and `hedges_won` are
    duplicates that answered first. `bytes_fetched` came from the source, `tier_hits` ranges from Redis instead;
    `tier_failures` counts requests that Redis did not answer. `damaged` ranges had wrong bytes, or too few.

    `quarantined` cached files were damaged and moved aside; `evicted` ones made room. `prefetched` shards were fetched
    before a read needed them; `prefetch_failures` could not be.
    """

    reads: int = 0
    hits: int = 0
    misses: int = 0
    direct: int = 0
    requests: int = 0
    retries: int = 0
    hedges: int = 0
    hedges_won: int = 0
    damaged: int = 0
    bytes_fetched: int = 0
    tier_hits: int = 0
    tier_failures: int = 0
    quarantined: int = 0
    evicted: int = 0
    prefetched: int = 0
    prefetch_failures: int = 0
    stall_seconds: float = 0.0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        after_fork(self)

    def in_child(self) -> None:
        """Replace the lock, which a thread of the parent may have held."""
        self._lock = threading.Lock()

    def add(self, **increments: float) -> None:
        """Add to counters, by name."""
        with self._lock:
            for name, increment in increments.items():
                setattr(self, name, getattr(self, name) + increment)

    def as_dict(self) -> dict[str, float]:
        """All counters by name, read at one moment."""
        with self._lock:
            return {each.name: getattr(self, each.name) for each in fields(self)}
