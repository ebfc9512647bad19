"""The trainer in the trials of `benchmarks.loader_torture`, the same for every loader.

Guarantees that what was delivered is told from the rows themselves: each holds its own number, and all its tokens
follow from that. Imports numpy and the standard library alone, since it runs in the environments of the peers too.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

ROWS, LENGTH, ROWS_PER_FILE, GLOBAL_BATCH = 3072, 64, 256, 16
EPOCH_STEPS = ROWS // GLOBAL_BATCH
WRONG = -1
"""In a log, a row that is none of those written."""


class Job(NamedTuple):
    """One life of one rank, as JSON in the first argument of its process.

    It goes on from the state in the file `resume`, if that is given, and saves in `state`. It trains `pause` seconds
    on each batch, for `steps` or to the end of the epoch. Where `cache` is given, `data` is the remote and that the
    folder on local disk.
    """

    loader: str
    data: str
    cache: str | None
    log: str
    state: str
    resume: str | None = None
    rank: int = 0
    world_size: int = 1
    steps: int | None = None
    save_every: int = 7
    pause: float = 0.0

    @property
    def batch(self) -> int:
        """Rows of a batch of this rank."""
        return GLOBAL_BATCH // self.world_size


Open = Callable[[Job, Any], tuple[Iterator[Any], Callable[[], Any]]]
"""From a job and what was saved (None: nothing) to batches [b, LENGTH] of integers, and what gives the state."""


def all_rows() -> NDArray[np.uint16]:
    """The rows of the trials, [ROWS, LENGTH]: the first token is the number of the row."""
    numbers, places = np.arange(ROWS)[:, None], np.arange(LENGTH)
    rows = (numbers * 7919 + places * 104_729 + numbers * places) % 50_000
    rows[:, 0] = np.arange(ROWS)
    return rows.astype(np.uint16)


def train(opens: dict[str, Open], package: dict[str, str]) -> None:
    """Go on from what was saved; write down each batch before it counts. Prints the version of the loader.

    The log has GLOBAL_BATCH / world_size numbers of rows (int32) for a batch; the state file is replaced as a whole.
    """
    job = Job(**json.loads(sys.argv[1]))
    right, state_file = all_rows().astype(np.int64), Path(job.state)
    steps, saved = pickle.loads(Path(job.resume).read_bytes()) if job.resume else (0, None)
    batches, state = opens[job.loader](job, saved)
    log = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    done = 0
    for batch in batches:
        time.sleep(job.pause)
        rows = np.asarray(batch, np.int64).reshape(-1, LENGTH)
        numbers = rows[:, 0].clip(0, ROWS - 1)
        numbers = np.where((right[numbers] == rows).all(1), numbers, WRONG)
        os.write(log, numbers.astype(np.int32).tobytes())
        steps, done = steps + 1, done + 1
        if job.rank == 0 and (steps % job.save_every == 0 or done == job.steps):
            beside = state_file.with_suffix(".new")
            beside.write_bytes(pickle.dumps((steps, state())))
            beside.replace(state_file)
        if done == job.steps:
            break
    print(json.dumps({"version": version(package[job.loader.split(":")[-1]])}), flush=True)
    sys.stderr.flush()
    os._exit(0)  # not every loader lets its threads and processes go when it is left within an epoch
