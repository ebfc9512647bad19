"""How the speed of a loader is taken, the same for all: first batch, a few seconds of batches, first batch at half.

Guarantees that what is timed is rows in their order, as int64 [32, 1024], whatever library delivers them: each reports
what it delivered at the start and at half. Imports the standard library alone, since it runs in the environments of
the peers too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

ROWS, LENGTH = 32, 1024
SECONDS = 3.0
STARTS = 5


def measure(open_at: Callable[[int], Iterator[Any]], rows: int) -> dict[str, Any]:
    """Figures of a loader: `open_at(row)` makes an iterator over batches from that row on, anew each time.

    `mtok_per_second`; `first_ms` and `resume_ms` (the least of a few, since the first of them imports and compiles);
    `first` and `half`: what the batches there hold.
    """
    half = rows // 2 // ROWS * ROWS
    first_ms, first = _start(open_at, 0)
    resume_ms, middle = _start(open_at, half)
    return {
        "mtok_per_second": throughput(lambda: open_at(0)),
        "first_ms": first_ms,
        "resume_ms": resume_ms,
        "first": first,
        "half": middle,
    }


def throughput(begin: Callable[[], Iterator[Any]]) -> float:
    """Million tokens per second of CPU, over `SECONDS`, from the start again where the rows end before.

    CPU time, since the job has one core and all files are in memory: other work on it would count otherwise.
    """
    batches = 0
    started = time.process_time()
    while (taken := time.process_time() - started) < SECONDS:
        for batch in begin():
            batches += 1
            del batch
            if batches % 64 == 0 and time.process_time() - started >= SECONDS:
                break
    return batches * ROWS * LENGTH / taken / 1e6


def _start(open_at: Callable[[int], Iterator[Any]], row: int) -> tuple[float, list[int]]:
    best, content = float("inf"), [0]
    for _ in range(STARTS):
        began = time.perf_counter()
        batch = next(open_at(row))
        best = min(best, time.perf_counter() - began)
        if tuple(batch.shape) != (ROWS, LENGTH) or str(batch.dtype) != "torch.int64":
            raise SystemExit(f"a batch of {batch.dtype} of shape {tuple(batch.shape)}")
        content = [int(batch.sum()), int(batch[0, 0]), int(batch[-1, -1])]
        del batch
    return best * 1e3, content
