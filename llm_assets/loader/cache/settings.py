"""How a cache and the requests behind it behave: numbers only, checked."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path


@dataclass(frozen=True)
class FetchSettings:
    """How bytes are asked of the source.

    `deadline_seconds` bounds a read as a whole: waiting for others, retries and backoff included. `attempt_seconds`
    bounds one request. Failed requests are repeated after a random pause below `backoff_seconds`, which doubles with
    each failure up to `backoff_most_seconds` (full jitter: AWS Architecture Blog, "Exponential Backoff and Jitter").
    Bytes that arrive damaged or short are asked for `damaged_attempts` times.

    A request slower than `hedge_quantile` of the last ones is sent a second time, and the first answer counts (Dean
    and Barroso, "The Tail at Scale", 2013); until enough are known, one slower than `hedge_seconds`. At most
    `hedge_share` of the requests are, beyond the first few, so that a source that is slow as a whole is not asked
    for twice the work. A shard is fetched in ranges of `range_bytes`, `connections` at a time.
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
                raise ValueError(f"{each.name} is {getattr(self, each.name)}: it must be positive")
        if not (0 <= self.hedge_share <= 1 and self.hedge_quantile < 1):
            raise ValueError(f"hedge_share {self.hedge_share} and hedge_quantile {self.hedge_quantile} are shares")


@dataclass(frozen=True)
class RedisSettings:
    """A Redis server that keeps fetched ranges for `seconds`, for other machines that want the same ones soon.

    `url` is as redis-py takes it. A server that does not answer within `timeout_seconds` is not asked again for
    `pause_seconds`. How much it keeps is its own business (`maxmemory`, `allkeys-lru`).
    """

    url: str
    seconds: int = 600
    timeout_seconds: float = 0.5
    pause_seconds: float = 30.0


@dataclass(frozen=True)
class CacheSettings:
    """A cache on local disk.

    `folder` is on a disk of this machine and may be shared by processes, users and sets; it is made where it is not
    there. `quota_bytes` is what all files in it may take together. `processes` is how many processes share it: each
    pins at most one shard, and one more is on its way, so the smallest legal quota is `processes + 1` times the
    largest shard. The next `prefetch` shards after the one being read are fetched before they are asked for, where the
    quota has room for so many.

    `memory_bytes` of blocks that were read last stay in memory. A process that waits longer than `patience_seconds`
    (or half of the deadline) for another one to fetch a shard reads the source itself.
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
            raise ValueError(f"a quota of {self.quota_bytes} bytes for {self.processes} processes")
        if self.prefetch < 0 or self.memory_bytes < 0 or self.patience_seconds < 0:
            raise ValueError("prefetch, memory_bytes and patience_seconds cannot be negative")
