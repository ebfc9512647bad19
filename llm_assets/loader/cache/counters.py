"""What a cache did, in numbers that a metrics exporter can read at any time.

Guarantees that the numbers only grow, and that no update of several threads is lost.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields

from llm_assets.loader.cache.forks import after_fork


@dataclass(eq=False)
class CacheCounters:
    """Counts of one process, since it opened the set. Read the attributes; change them with `add`.

    `reads` are reads of rows or lengths, each within one shard: `hits` were answered from memory or the cache, `misses`
    waited for a shard to be fetched, `direct` had their blocks fetched past the cache, because it was full of shards in
    use, another process took too long, or too little of the shard was due to fetch all of it. `stall_seconds` is what
    `misses` and `direct` waited.

    `requests` went to the source: `retries` are repetitions after a failure, `hedges` second requests for slow ones,
    `hedges_won` those that answered first. `bytes_fetched` came from the source, `tier_hits` ranges from Redis instead;
    `tier_failures` counts a Redis that did not answer. `damaged` ranges came with wrong bytes or too few.

    `quarantined` cached files were damaged and moved aside; `evicted` ones made room. `prefetched` shards were
    fetched before they were asked for, `prefetch_failures` could not be.
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
        """A thread of the parent may have held the lock."""
        self._lock = threading.Lock()

    def add(self, **increments: float) -> None:
        """Add to counters, by name."""
        with self._lock:
            for name, increment in increments.items():
                setattr(self, name, getattr(self, name) + increment)

    def as_dict(self) -> dict[str, float]:
        """All counters by name, of one moment."""
        with self._lock:
            return {each.name: getattr(self, each.name) for each in fields(self)}
