"""`python -m benchmarks.loader_torture [--trials N]`: the torture trials of the loader, with peers, as a table.

Three trials, the same for each loader: a trainer that is killed and started again; other numbers of ranks, from the
start and at a resume; one byte flipped in a shard that lies in the cache. The full trials of this project's loader
are tests: `make torture`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np

from benchmarks.environment import peer_python
from benchmarks.harness import ONE_THREAD, ROOT, BenchmarkError, progress, work_folder
from benchmarks.trials import EPOCH_STEPS, GLOBAL_BATCH, ROWS, WRONG, Job

SECONDS = 120
"""A process that has not ended by then never will."""

WORLDS = (1, 2, 4)
STEPS = 20


@dataclass
class Loader:
    """A loader, how its trainer is started, and an empty folder of its own."""

    title: str
    name: str
    python: Path
    module: str
    cached_files: str
    folder: Path
    version: str = ""
    _numbers: count[int] = field(default_factory=count)

    @property
    def data(self) -> Path:
        """Where its rows are, in its format."""
        return self.folder / "data"

    def job(self, **changes: object) -> Job:
        """A job with a log and a state file of its own."""
        life = self.folder / f"life-{next(self._numbers)}"
        life.mkdir()
        return Job(self.name, str(self.data), None, str(life / "log"), str(life / "state"))._replace(**changes)

    def start(self, job: Job, port: int = 0) -> subprocess.Popen[str]:
        """A rank, in a session of its own."""
        rank, world = str(job.rank), str(job.world_size)
        places = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TMPDIR": str(self.folder)}
        litdata = {f"DATA_OPTIMIZER_{name}CACHE_FOLDER": str(self.folder / f"{name}cache") for name in ("", "DATA_")}
        ranks = {"RANK": rank, "LOCAL_RANK": rank, "GLOBAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
        return subprocess.Popen(
            [str(self.python), "-W", "ignore", "-m", self.module, json.dumps(job._asdict())],
            cwd=ROOT,
            env=os.environ | ONE_THREAD | places | litdata | ranks,
            stdout=subprocess.PIPE,
            stderr=(self.folder / "stderr").open("w"),
            text=True,
            start_new_session=True,
        )

    def run(self, jobs: Sequence[Job]) -> str:
        """All ranks to their end: '' where they ended well, else the last line of what one of them said."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        running = [self.start(job, port) for job in jobs]
        deadline = time.monotonic() + SECONDS
        problem = ""
        for process in running:
            try:
                output, _ = process.communicate(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                problem = problem or f"no end within {SECONDS} s"
                continue
            if process.returncode == 0:
                self.version = json.loads(output.splitlines()[-1])["version"]
            else:
                problem = problem or ((self.folder / "stderr").read_text().strip().splitlines() or ["?"])[-1]
        for process in running:
            kill(process)
        return problem


def kill(process: subprocess.Popen[str]) -> None:
    """The process, and those it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def delivered(job: Job, steps: int | None = None) -> np.ndarray:
    """The rows in the log of a rank, of its first `steps` batches."""
    path = Path(job.log)
    rows = np.frombuffer(path.read_bytes() if path.exists() else b"", np.int32)
    return rows if steps is None else rows[: steps * job.batch]


def killed_and_resumed(loader: Loader, trials: int, chance: random.Random) -> str:
    """Rows of one epoch never trained on, and rows trained on twice, against the state saved last."""
    gaps = repeats = 0
    for _ in range(trials):
        first = loader.job(pause=0.003)
        process, moment = loader.start(first), chance.randrange(10, EPOCH_STEPS - 10)
        deadline = time.monotonic() + SECONDS
        while len(delivered(first)) < moment * GLOBAL_BATCH and time.monotonic() < deadline:
            time.sleep(0.002)
        kill(process)
        saved = Path(first.state).exists()
        second = loader.job(resume=first.state if saved else None)
        before = delivered(first, saved_steps(loader, first) if saved else 0)
        if problem := loader.run([second]):
            return f"resume failed: {problem}"
        times = Counter([*before.tolist(), *delivered(second).tolist()])
        gaps += sum(times[row] == 0 for row in range(ROWS))
        repeats += sum(times[row] > 1 for row in range(ROWS))
    return f"{gaps} gaps, {repeats} repeats in {trials} × {ROWS:,} rows"


def saved_steps(loader: Loader, job: Job) -> int:
    """How many steps had been trained when the state was saved; read by the interpreter that can."""
    script = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb'))[0])"
    output = subprocess.check_output([str(loader.python), "-c", script, job.state], cwd=ROOT, text=True)
    return int(output)


def other_worlds(loader: Loader) -> tuple[str, str]:
    """Global batches of several ranks against those of one: from the start, and when the world changes at a resume."""
    alone, problem = steps_of(loader, [loader.job(steps=2 * STEPS)])
    if problem:
        return problem, problem
    start: list[str] = []
    for world in WORLDS[1:]:
        batches, problem = steps_of(loader, ranks(loader, world))
        start.append(f"W={world}: {problem or same(batches, alone[:STEPS])}")
    two = ranks(loader, 2)
    before, problem = steps_of(loader, two)
    after, problem = (before, problem) if problem else steps_of(loader, ranks(loader, 4, two[0].state, steps=None))
    if problem:
        return "; ".join(start), f"2 to 4: {problem}"
    times = Counter([*before.ravel().tolist(), *after.ravel().tolist()])
    counted = (
        f"{sum(times[row] == 0 for row in range(ROWS))} gaps, {sum(times[row] > 1 for row in range(ROWS))} repeats"
    )
    return "; ".join(start), f"2 to 4: {same(after[:STEPS], alone[STEPS:])}; {counted} in the epoch"


def ranks(loader: Loader, world: int, resume: str | None = None, steps: int | None = STEPS) -> list[Job]:
    """The jobs of a world, of which the first saves for all at the end of its steps."""
    return [
        loader.job(rank=rank, world_size=world, steps=steps, resume=resume, save_every=10 * EPOCH_STEPS)
        for rank in range(world)
    ]


def steps_of(loader: Loader, jobs: Sequence[Job]) -> tuple[np.ndarray, str]:
    """The global batches, [steps, GLOBAL_BATCH], rank after rank in each; or what went wrong."""
    if problem := loader.run(jobs):
        return np.empty((0, GLOBAL_BATCH)), problem
    return np.concatenate([delivered(job).reshape(-1, job.batch) for job in jobs], axis=1), ""


def same(batches: np.ndarray, expected: np.ndarray) -> str:
    """Whether they are."""
    if np.array_equal(batches, expected):
        return "the same batches"
    sets = sum({*left} == {*right} for left, right in zip(batches.tolist(), expected.tolist(), strict=False))
    return f"the same rows in {sets} of {len(expected)} batches"


def one_byte(loader: Loader, trials: int, chance: random.Random) -> str:
    """A byte of a cached shard flipped between two runs: what the second one delivers."""
    full = loader.folder / "full"
    if problem := loader.run([loader.job(cache=str(full))]):
        return f"failed to fill its cache: {problem}"
    outcomes: Counter[str] = Counter()
    for trial in range(trials):
        cache = loader.folder / f"flipped-{trial}"
        shutil.copytree(full, cache)
        files = sorted(path for path in cache.rglob(loader.cached_files) if path.is_file())
        if not files:
            return f"no {loader.cached_files} in its cache"
        file = chance.choice(files)
        data = bytearray(file.read_bytes())
        # in the last half, where there are tokens in all formats
        data[chance.randrange(len(data) // 2, len(data))] ^= 1 << chance.randrange(8)
        file.write_bytes(data)
        job = loader.job(cache=str(cache))
        problem = loader.run([job])
        rows = delivered(job).tolist()
        if WRONG in rows:
            outcomes["wrong rows trained on, " + ("then an error" if problem else "silently")] += 1
        elif problem:
            outcomes["an error"] += 1
        else:
            outcomes["right rows"] += 1
    return ", ".join(f"{outcome}: {times} of {trials}" for outcome, times in sorted(outcomes.items()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loader_torture", description="Torture, with peers.")
    parser.add_argument("--trials", type=int, default=5, help="kills, and flipped bytes, for each loader (5)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--only", choices=["ours", "streaming", "litdata"])
    options = parser.parse_args(arguments)
    progress(f"seed {options.seed}")
    lines: list[tuple[str, ...]] = []
    with work_folder("loader-torture") as work:
        for loader in loaders(work, options.only):
            if problem := loader.run([loader.job()._replace(loader=f"write:{loader.name}")]):
                raise BenchmarkError(f"{loader.title} wrote nothing: {problem}")
            chance = random.Random(options.seed)
            progress(f"{loader.title} {loader.version}: kills")
            killed = killed_and_resumed(loader, options.trials, chance)
            progress(f"  {killed}; other worlds")
            start, change = other_worlds(loader)
            progress(f"  {start}; {change}; flipped bytes")
            flipped = one_byte(loader, options.trials, chance)
            progress(f"  {flipped}")
            if loader.name == "streaming":
                loader.run([loader.job()._replace(loader="clean:streaming")])
            lines.append((f"{loader.title} {loader.version}", killed, start, change, flipped))
    print("| loader | killed and resumed | more ranks from the start | more ranks at a resume | one byte flipped |")
    print("|---|---|---|---|---|")
    for line in lines:
        print(f"| {' | '.join(line)} |")
    return 0


def loaders(work: Path, only: str | None) -> list[Loader]:
    """The contenders, each in its environment."""
    peers = "benchmarks.peers.loader_trials"
    chosen = [
        ("llm_assets", "ours", None, "benchmarks.ours.loader_trials", "*.shard"),
        ("MosaicML Streaming", "streaming", "streaming", peers, "*.mds"),
        ("litdata", "litdata", "loaders", peers, "*.bin"),
    ]
    found: list[Loader] = []
    for title, name, environment, module, cached in chosen:
        if only in (None, name):
            (work / name).mkdir()
            python = Path(sys.executable) if environment is None else peer_python(environment)
            found.append(Loader(title, name, python, module, cached, work / name))
    return found


if __name__ == "__main__":
    sys.exit(main())
