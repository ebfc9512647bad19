"""An iterator that computes items in a background thread, ahead of its consumer.

Guarantees the items of the source in order, its exception at the position where it was raised, and that the thread
ends when the iterator is closed or garbage-collected.
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
        """Stop the thread once it has finished the current item."""
        self._coming.clear()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def __del__(self) -> None:
        self.close()
