"""Use inside the worker process of a DataLoader: what is possible there, and what the process at home must know.

Guarantees that rows are not delivered twice by several workers, and that no state is read where it is not known.
"""

from __future__ import annotations

import mmap
from multiprocessing.context import get_spawning_popen
from typing import Any

import torch
from torch.utils.data import get_worker_info


class WorkerProcessError(RuntimeError):
    """Something that cannot be done with worker processes of a DataLoader."""


def worker_count() -> int:
    """Worker processes of the DataLoader that this is a worker process of; 0 where it is none."""
    info = get_worker_info()
    return 0 if info is None else info.num_workers


class WorkerFlag:
    """Remembers, across processes, that a worker process delivers.

    The next worker process knows no more than this one how far that one came: unless it is told, it would begin with
    rows that were delivered before.
    """

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 1)  # shared with the processes forked from this one
        self._told = False

    def __getstate__(self) -> dict[str, Any]:
        delivered = self._shared[0]
        if get_spawning_popen() is not None:  # a process started afresh shares nothing: it is told now or never
            self._shared[0] = 1
        return {"delivered": delivered}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()
        self._shared[0] = state["delivered"]

    def enter(self, device: torch.device | None) -> None:
        """An iteration begins in this process. Raises WorkerProcessError where it must not."""
        workers = worker_count()
        if workers > 1:
            raise WorkerProcessError(
                f"{workers} worker processes would each deliver every row: use at most one (num_workers=0 is faster)"
            )
        if workers and device is not None and device.type != "cpu":
            raise WorkerProcessError(f"a worker process cannot make batches on {device}: use num_workers=0")
        if workers:
            if self._shared[0] and not self._told:
                raise WorkerProcessError(
                    "a worker process delivered rows of this loader before, and another would begin with them again: "
                    "load the state after the last batch first, or ask for several `epochs` at once"
                )
            self._shared[0] = 1
            self._told = False

    def check(self) -> None:
        """Raises WorkerProcessError where a worker process delivers and this is not it."""
        if self._shared[0] and not worker_count():
            raise WorkerProcessError(
                "a worker process delivers, and this one does not know how far it is: save the state_dict of a "
                "torchdata StatefulDataLoader, or `state_after` the last batch (field `row_ids`)"
            )

    def clear(self) -> None:
        """The position is known again in this process."""
        if worker_count():
            self._told = True
        else:
            self._shared[0] = 0
