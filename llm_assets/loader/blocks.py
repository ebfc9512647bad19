"""A pool of memory blocks for batches. A block is reused once no array or tensor refers to it.

Guarantees that a block belongs to its holder alone for as long as any view of it lives. Allocating fresh memory costs
more than filling it, since the operating system zeroes every new page.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FREE_KEPT = 8
"""Free blocks kept: enough for a consumer that holds a few batches at once and releases them together."""


class BlockPool:
    """Flat blocks of one type. A copy or a pickle of it starts empty."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self._size = 0
        self._free: deque[NDArray[Any]] = deque(maxlen=_FREE_KEPT)

    def __reduce__(self) -> tuple[Any, ...]:
        return BlockPool, (self.dtype,)

    def take(self, size: int) -> NDArray[Any]:
        """A block of `size` values, uninitialised. It comes back to the pool when the last view of it dies."""
        if size > self._size:
            self._size = size
            self._free = deque(maxlen=_FREE_KEPT)  # blocks still held return to the old deque and are freed with it
        try:
            memory = self._free.pop()
        except IndexError:
            memory = np.empty(self._size, self.dtype)
        return np.asarray(_Lease(memory, self._free))[:size]


class _Lease:
    """Owns the memory of a block for numpy: every view keeps the lease alive, and its end returns the block."""

    def __init__(self, memory: NDArray[Any], free: deque[NDArray[Any]]) -> None:
        self.__array_interface__ = memory.__array_interface__
        self._memory = memory
        self._free = free

    def __del__(self) -> None:
        self._free.append(self._memory)
