"""Settings of a cache and of its requests: validated numbers."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path


@dataclass(frozen=True)
class FetchSettings:
    """Requests to the source: timeouts, retries, hedging, sizes.

    `deadline_seconds` bounds a read as a whole, including retries, backoff and waiting for other processes;
    `attempt_seconds` bounds one request. A failed request is repeated after a random pause below `backoff_seconds`,
    which doubles with each failure up to `backoff_most_seconds` (full jitter: AWS Architecture Blog, "Exponential
    Backoff and Jitter"). Bytes that arrive damaged or short are requested `damaged_attempts` times.

    A request slower than `hedge_quantile` of the recent ones is sent a second time, and the first answer counts (Dean
    and Barroso, "The Tail at Scale", 2013); before enough are known, `hedge_seconds` is the limit. At most the share
    `hedge_share` of the requests is hedged, beyond the first few, so that a source that is slow as a whole does not
    get twice the load. A shard is fetched in ranges of `range_bytes`, `connections` at a time.
    """

    deadline_seconds: float = 120.0
    attempt_seconds: float = 15.0
    backoff_seconds: float = 0.1
    backoff_most_seconds: float = 5.0
    damaged_attempts: int = 4
    hedge_seconds: float = 2.0
    hedge_quantile: float = 0.95
    hedge_share: float = 0.1
    range_bytes: int = 4 << 20
    connections: int = 4

    def __post_init__(self) -> None:
        for each in fields(self):
            if getattr(self, each.name) <= 0 and each.name != "hedge_share":
                raise ValueError(f"{each.name} is {getattr(self, each.name)}: give a number above 0")
        if not (0 <= self.hedge_share <= 1 and self.hedge_quantile < 1):
            raise ValueError(
                f"hedge_share {self.hedge_share} must be from 0 to 1, and hedge_quantile {self.hedge_quantile} below 1"
            )


@dataclass(frozen=True)
class RedisSettings:
    """A Redis server that keeps fetched ranges for `seconds`, for other machines that read the same set.

    `url` has the form that redis-py takes. After a request longer than `timeout_seconds` the server is not asked for
    `pause_seconds`. Limit its memory on the server (`maxmemory`, `allkeys-lru`).
    """

    url: str
    seconds: int = 600
    timeout_seconds: float = 0.5
    pause_seconds: float = 30.0


@dataclass(frozen=True)
class CacheSettings:
    """A cache on local disk.

    `folder` is on a disk of this machine and may be shared by processes, users and sets; it is created if needed.
    `quota_bytes` bounds the size of all its files together. `processes` is the number of processes that share it: each
    leases at most one shard, and one more is in transfer, so the quota must be at least `processes + 1` times the
    largest shard. The next `prefetch` shards are fetched in the background, where the quota has room for them.

    The `memory_bytes` of blocks that were read last stay in memory. A process that waits longer than `patience_seconds`
    (or half of the deadline) for another one to fetch a shard reads from the source itself.
    """

    folder: str | Path
    quota_bytes: int
    processes: int = 1
    prefetch: int = 1
    memory_bytes: int = 32 << 20
    patience_seconds: float = 5.0
    fetch: FetchSettings = field(default_factory=FetchSettings)
    redis: RedisSettings | None = None

    def __post_init__(self) -> None:
        if self.quota_bytes < 1 or self.processes < 1:
            raise ValueError(
                f"quota_bytes is {self.quota_bytes} and processes is {self.processes}: give 1 or more for both"
            )
        if self.prefetch < 0 or self.memory_bytes < 0 or self.patience_seconds < 0:
            raise ValueError("prefetch, memory_bytes and patience_seconds must be 0 or more")
