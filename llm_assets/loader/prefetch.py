"""Work done ahead of its consumer by a thread.

Guarantees the items of the source in its order, its error in the place where it was raised, and a thread that ends
when its consumer closes or forgets it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class PrefetchIterator(Iterator[T], Generic[T]):
    """Iterates over `source`, up to `depth` items ahead."""

    def __init__(self, source: Iterator[T], depth: int) -> None:
        self._source = source
        self._thread = ThreadPoolExecutor(1, "token-loader")
        self._coming: deque[Future[T | None]] = deque(self._ask() for _ in range(depth))

    def _ask(self) -> Future[T | None]:
        return self._thread.submit(next, self._source, None)

    def __next__(self) -> T:
        if not self._coming:
            raise StopIteration
        item = self._coming.popleft().result()
        if item is None:
            self.close()
            raise StopIteration
        self._coming.append(self._ask())
        return item

    def close(self) -> None:
        """Let the thread end; it finishes the item it works on."""
        self._coming.clear()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def __del__(self) -> None:
        self.close()
