"""Use of a loader in worker processes of a DataLoader: allowed with one worker, refused where rows would repeat.

Guarantees that several workers do not deliver the same rows, and that no state is read in a process that does not know
the position.
"""

from __future__ import annotations

import mmap
from multiprocessing.context import get_spawning_popen
from typing import Any

import torch
from torch.utils.data import get_worker_info

from llm_assets.errors import LlmAssetsError


class WorkerProcessError(LlmAssetsError, RuntimeError):
    """An operation that is not possible with worker processes of a DataLoader."""


def worker_count() -> int:
    """Number of workers of the DataLoader, in one of its worker processes; 0 in any other process."""
    info = get_worker_info()
    return 0 if info is None else info.num_workers


class WorkerFlag:
    """Records, across processes, that a worker process has delivered rows.

    Neither this process nor the next worker knows the position that the worker reached. Unless a state is loaded, the
    next worker would deliver the same rows again.
    """

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 1)  # shared with the processes forked from this one
        self._told = False

    def __getstate__(self) -> dict[str, Any]:
        delivered = self._shared[0]
        if get_spawning_popen() is not None:  # a spawned process shares no memory: it gets the flag now
            self._shared[0] = 1
        return {"delivered": delivered}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()
        self._shared[0] = state["delivered"]

    def enter(self, device: torch.device | None) -> None:
        """Start an iteration in this process. Raises WorkerProcessError where rows would repeat, and for CUDA."""
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
                    "a worker process has delivered rows of this loader, and a new one would deliver them again: load "
                    "the state after the last batch first, or ask for several `epochs` at once"
                )
            self._shared[0] = 1
            self._told = False

    def check(self) -> None:
        """Raise WorkerProcessError where another process, a worker, has delivered rows."""
        if self._shared[0] and not worker_count():
            raise WorkerProcessError(
                "a worker process delivers the batches, and this process does not know its position: save the "
                "state_dict of a torchdata StatefulDataLoader, or `state_after` the last batch (field `row_ids`)"
            )

    def clear(self) -> None:
        """Record that a state was loaded, so the position is known again."""
        if worker_count():
            self._told = True
        else:
            self._shared[0] = 0
