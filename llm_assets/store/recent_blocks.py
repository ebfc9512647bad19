"""Reads byte ranges of a shard through whole checked blocks, for sources that cannot be memory-mapped.

Guarantees that the blocks at the ends of a read, which neighbouring reads share, are not fetched again while they are
in memory, and that this memory is bounded. The `fetch` function checks the blocks.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np
from numpy.typing import NDArray

from llm_assets.store.shards.checks import ShardBlocks

Fetch = Callable[[int, int, NDArray[np.uint8]], None]
"""Writes the checked bytes of blocks `first` to `last` (exclusive) into an array of their size."""


class RecentBlocks:
    """An LRU cache of blocks, up to `most_bytes` bytes. Thread-safe; not for use across a fork."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._blocks: OrderedDict[tuple[Hashable, int], NDArray[np.uint8]] = OrderedDict()
        self._changing = threading.Lock()

    def read(self, key: Hashable, shard: ShardBlocks, start: int, stop: int, fetch: Fetch) -> NDArray[np.uint8]:
        """Bytes `start` to `stop` (exclusive) of the shard with this `key`, read-only.

        Calls `fetch` at most once, for all blocks from the first to the last one that is not in memory.
        Raises ShardTruncatedError beyond the end of the shard, and what `fetch` raises.
        """
        first, last = shard.holding(start, stop)
        if start == stop:
            return np.empty(0, np.uint8)
        data = self._whole(key, shard, first, last, fetch)
        offset, _ = shard.block_range(first, last)
        part = data[start - offset : stop - offset]
        part.flags.writeable = False
        return part

    def _whole(self, key: Hashable, shard: ShardBlocks, first: int, last: int, fetch: Fetch) -> NDArray[np.uint8]:
        known = [self._get(key, block) for block in range(first, last)]
        if len(known) == 1 and known[0] is not None:
            return known[0]
        start, stop = shard.block_range(first, last)
        out = np.empty(stop - start, np.uint8)
        for place, data in enumerate(known):
            if data is not None:
                out[place * shard.block_bytes :][: len(data)] = data
        missing = [first + place for place, data in enumerate(known) if data is None]
        if missing:
            low, high = shard.block_range(missing[0], missing[-1] + 1)
            fetch(missing[0], missing[-1] + 1, out[low - start : high - start])
        for block in {first, last - 1}:
            low, high = shard.block_range(block, block + 1)
            self._put(key, block, out[low - start : high - start])
        return out

    def _get(self, key: Hashable, block: int) -> NDArray[np.uint8] | None:
        with self._changing:
            data = self._blocks.get((key, block))
            if data is not None:
                self._blocks.move_to_end((key, block))
            return data

    def _put(self, key: Hashable, block: int, data: NDArray[np.uint8]) -> None:
        if len(data) > self._most:
            return
        with self._changing:
            if (key, block) in self._blocks:
                return
            self._blocks[key, block] = data.copy()
            self._bytes += len(data)
            while self._bytes > self._most:
                _, oldest = self._blocks.popitem(last=False)
                self._bytes -= len(oldest)
