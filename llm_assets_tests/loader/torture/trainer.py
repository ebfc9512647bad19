"""A trainer that is going to be killed: it trains on batches, writes down the rows of each, and saves its state.

Run as a program it forks one trainer after another, as told on stdin, so that only the first one imports torch.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from llm_assets.loader import TokenLoader
from llm_assets.loader.fields import Batch, Field

ROW = np.dtype([("row", np.int64), ("hash", np.uint64)])
BATCH, SEED, BLOCK = 24, 11, 8
FIELDS: tuple[Field, ...] = ("input_ids", "labels", "row_ids")


@dataclass(frozen=True)
class Attempt:
    """One life of the trainer. All ranks of the world live in it; each has a loader, and a worker where `kind` says so.

    It trains `pause` seconds on a batch and saves after every `save_every`; with `steps` it ends by itself.
    """

    uri: str
    log: str
    state: str
    kind: str
    world_size: int
    prefetch: int
    pause: float
    save_every: int
    steps: int | None = None


@dataclass(frozen=True)
class Saved:
    """What is in the state file: the state of the loader, and how many rows the trainer itself has counted."""

    rows: int
    state: Any


def row_hashes(input_ids: torch.Tensor) -> list[int]:
    """A hash of each row."""
    return [xxhash.xxh3_64_intdigest(row.tobytes()) for row in input_ids.numpy()]


def read_state(path: Path) -> Saved:
    """What was saved last; nothing yet where there is no file."""
    return Saved(**pickle.loads(path.read_bytes())) if path.exists() else Saved(0, None)


def read_log(path: Path) -> np.ndarray:
    """Rows written down, `ROW` [n]; the kill may have cut the last record short."""
    data = path.read_bytes() if path.exists() else b""
    return np.frombuffer(data[: len(data) // ROW.itemsize * ROW.itemsize], ROW)


def train(attempt: Attempt) -> None:
    """Go on from the saved state until killed, or for `steps` batches."""
    saved = read_state(Path(attempt.state))
    loaders = [_loader(attempt, rank) for rank in range(attempt.world_size)]
    batches, state = _KINDS[attempt.kind](loaders, saved.state)
    rows, steps = saved.rows, 0
    log = os.open(attempt.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for parts in batches:
        time.sleep(attempt.pause)
        trained = np.concatenate([_records(part) for part in parts])
        os.write(log, trained.tobytes())
        rows, steps = rows + len(trained), steps + 1
        if steps % attempt.save_every == 0 or steps == attempt.steps:
            _save(Path(attempt.state), Saved(rows, state(parts)))
        if steps == attempt.steps:
            return


def _loader(attempt: Attempt, rank: int) -> TokenLoader:
    return TokenLoader(
        attempt.uri,
        batch_size=BATCH,
        rank=rank,
        world_size=attempt.world_size,
        epochs=None,
        seed=SEED,
        block=BLOCK,
        fields=FIELDS,
        prefetch=attempt.prefetch,
    )


def _records(batch: Batch) -> np.ndarray:
    records = np.empty(len(batch["row_ids"]), ROW)
    records["row"] = batch["row_ids"].numpy()
    records["hash"] = row_hashes(batch["input_ids"])
    return records


def _save(path: Path, saved: Saved) -> None:
    beside = path.with_suffix(".new")
    beside.write_bytes(pickle.dumps(asdict(saved)))
    beside.replace(path)


Parts = tuple[Batch, ...]
Begun = tuple[Iterator[Parts], Callable[[Parts], Any]]
"""The parts of the global batches, rank by rank, and what gives the state after those that were given out last."""


def _bare(loaders: Sequence[TokenLoader], saved: Any) -> Begun:
    for loader in loaders if saved else ():
        loader.load_state_dict(json.loads(saved))
    return zip(*loaders, strict=True), lambda parts: json.dumps(loaders[0].state_dict())


def _with_worker(loaders: Sequence[TokenLoader], saved: Any) -> Begun:
    for loader in loaders if saved else ():
        loader.load_state_dict(json.loads(saved))
    around = [
        DataLoader(loader, batch_size=None, num_workers=1, prefetch_factor=4, multiprocessing_context="fork")
        for loader in loaders
    ]
    return zip(*around, strict=True), lambda parts: json.dumps(loaders[-1].state_after(parts[-1]))


def _stateful(loaders: Sequence[TokenLoader], saved: Any) -> Begun:
    around = [
        StatefulDataLoader(loader, batch_size=None, num_workers=1, prefetch_factor=4, multiprocessing_context="fork")
        for loader in loaders
    ]
    for number, loader in enumerate(around if saved else ()):
        loader.load_state_dict(saved[number])
    return zip(*around, strict=True), lambda parts: [loader.state_dict() for loader in around]


_KINDS: dict[str, Callable[[Sequence[TokenLoader], Any], Begun]] = {
    "bare": _bare,
    "worker": _with_worker,
    "stateful": _stateful,
}


def serve() -> None:
    """For each attempt on stdin: fork a trainer, which says in which session it is, and say how it ended."""
    torch.set_num_threads(1)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os.setsid()
            print(os.getpid(), flush=True)
            train(Attempt(**json.loads(line)))
            sys.stdout.flush()
            os._exit(0)
        print(os.waitpid(child, 0)[1], flush=True)


if __name__ == "__main__":
    serve()
