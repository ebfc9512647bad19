"""The engine: maps a function over the parts of a partition.

Guarantees results in the order of the parts whatever the number of workers, and the first error instead of a
partial result. Threads, since the kernels, Parquet and the tokenizer release the GIL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class LocalEngine:
    """Threads of this process. `workers` is at least 1."""

    workers: int

    def map(self, function: Callable[[ItemT], ResultT], items: Iterable[ItemT]) -> list[ResultT]:
        """Results in item order. Raises the first error in that order; what has not begun is cancelled."""
        if self.workers == 1:
            return [function(item) for item in items]
        with ThreadPoolExecutor(self.workers, thread_name_prefix="llm-assets") as pool:
            futures = [pool.submit(function, item) for item in items]
            try:
                return [future.result() for future in futures]
            finally:
                for future in futures:
                    future.cancel()
