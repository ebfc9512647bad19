"""SIGKILL at random moments, with full queues: what was trained on has no gap and no repeat against the saved state.

A kind of trainer is one long run of many lives, in which ranks, prefetch and pace change from one to the next.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from llm_assets.loader import TokenLoader
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets_tests.loader.sets import write
from llm_assets_tests.loader.torture.trainer import (
    BATCH,
    BLOCK,
    SEED,
    Attempt,
    Saved,
    read_log,
    read_state,
    row_hashes,
)
from llm_assets_tests.loader.torture.trials import seed, trials

pytestmark = [pytest.mark.torture, pytest.mark.timeout(1800)]
PROJECT = Path(__file__).parents[3]
MOST_SECONDS = 0.4
"""Within so long after its start, or after its first batch, a trainer is killed."""


class Trainers:
    """A process that forks trainers."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-W", "ignore:'set_vital'", "-m", "llm_assets_tests.loader.torture.trainer"],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.sessions: list[int] = []

    def run(self, attempt: Attempt, kill_after: float | None, *, once_begun: bool = False) -> int:
        """A trainer to its end, or killed with its worker processes; its wait status.

        It is killed so many seconds after its start or, `once_begun`, after the first batch is written down.
        Not killed alone: a worker that begins its work after its trainer died takes whoever adopted it for the
        trainer, and waits for ever (torch 2.13, `_utils/worker.py`, ManagerWatchdog).
        """
        assert self._server.stdin and self._server.stdout
        print(json.dumps(asdict(attempt)), file=self._server.stdin, flush=True)
        self.sessions.append(int(self._server.stdout.readline()))
        deadline = time.monotonic() + 60
        while once_begun and not written(Path(attempt.log)) and time.monotonic() < deadline:
            time.sleep(0.001)
        if kill_after is not None:
            time.sleep(kill_after)
            os.killpg(self.sessions[-1], signal.SIGKILL)
        return int(self._server.stdout.readline())

    def close(self) -> None:
        """End the server, whatever its trainers are doing."""
        for session in self.sessions[-1:]:
            with suppress(ProcessLookupError):
                os.killpg(session, signal.SIGKILL)
        self._server.communicate(timeout=60)
        assert self._server.returncode == 0


@contextmanager
def trainers() -> Generator[Trainers]:
    server = Trainers()
    try:
        yield server
    finally:
        server.close()


class Stream:
    """The hashes of the rows of the stream, from a loader that nobody interrupts: an epoch is a batch of it."""

    def __init__(self, shards: ShardSet) -> None:
        loader = TokenLoader(shards, batch_size=shards.rows, epochs=None, seed=SEED, block=BLOCK, fields=["input_ids"])
        self._rows = shards.rows
        self._epochs: Iterator[dict[str, object]] = iter(loader)
        self._known: list[np.ndarray] = []

    def hashes(self, first: int, last: int) -> np.ndarray:
        """Of rows `first` to `last` (exclusive), uint64."""
        while len(self._known) * self._rows < last:
            self._known.append(np.array(row_hashes(next(self._epochs)["input_ids"]), np.uint64))
        rows = np.arange(first, last)
        epochs = np.concatenate([np.empty(0, np.uint64), *self._known[first // self._rows : -(-last // self._rows)]])
        return epochs[rows - first // self._rows * self._rows]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    return write(tmp_path_factory.mktemp("large"), 1009, shard_rows=64)


@pytest.mark.parametrize(
    ("kind", "full", "worlds"), [("bare", 300, [1, 2, 3, 4]), ("worker", 120, [1, 1, 2]), ("stateful", 80, [1, 1, 2])]
)
def test_killed_at_random_moments(large: ShardSet, tmp_path: Path, kind: str, full: int, worlds: list[int]) -> None:
    chance = random.Random(seed())
    stream = Stream(large)
    state, before = tmp_path / "state", Saved(0, None)
    in_vain = most_after = 0
    world_size = chance.choice(worlds)
    with trainers() as server:
        for trial in range(trials(full)):
            # the states of StatefulDataLoaders belong each to its rank
            world_size = world_size if kind == "stateful" else chance.choice(worlds)
            attempt = Attempt(
                large.uri,
                str(tmp_path / f"log-{trial}"),
                str(state),
                kind,
                world_size,
                prefetch=chance.randrange(9),
                pause=chance.choice([0, 0.0005, 0.004]),
                save_every=chance.randint(1, 5),
            )
            once_begun = chance.random() < 0.75
            status = server.run(attempt, chance.uniform(0, MOST_SECONDS), once_begun=once_begun)
            assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, f"trial {trial}: {attempt}"
            after = read_state(state)
            trained = read_log(Path(attempt.log))
            check(trained, before, after, attempt, stream)
            in_vain += len(trained) == 0
            assert len(trained) or not once_begun, attempt
            most_after = max(most_after, before.rows + len(trained) - after.rows)
            before = after
            Path(attempt.log).unlink(missing_ok=True)
        attempt = Attempt(large.uri, str(tmp_path / "log"), str(state), kind, world_size, 2, 0, 3, steps=50)
        assert server.run(attempt, None) == 0
        check(read_log(tmp_path / "log"), before, read_state(state), attempt, stream)
        assert read_state(state).rows == before.rows + 50 * BATCH
        sessions = server.sessions
    print(
        f"{kind}: {trial + 1} kills, {in_vain} of them before the first batch; {before.rows:,} rows saved, "
        f"at most {most_after} delivered after the last save"
    )
    assert before.rows > 0
    nobody_left(sessions)


def check(trained: np.ndarray, before: Saved, after: Saved, attempt: Attempt, stream: Stream) -> None:
    """A life delivered just the rows after the state it began with, and saved a state of what it had delivered."""
    last = before.rows + len(trained)
    assert trained["row"].tolist() == list(range(before.rows, last)), attempt
    assert np.array_equal(trained["hash"], stream.hashes(before.rows, last)), attempt
    assert before.rows <= after.rows <= last, attempt
    assert (after.rows - before.rows) % BATCH == 0
    # a batch may have been written down, wholly or in part, when the kill came between it and its state
    assert last - after.rows <= BATCH * attempt.save_every, attempt


def nobody_left(sessions: list[int]) -> None:
    """All processes of these sessions are gone, or will be at once."""
    deadline = time.monotonic() + 10
    while left := [session for session in sessions if alive(session)]:
        assert time.monotonic() < deadline, f"process groups {left} live on"
        time.sleep(0.2)


def written(log: Path) -> bool:
    return log.exists() and log.stat().st_size > 0


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
