"""Contenders run in turns, each in a process of its own on one core, and what each run cost.

Guarantees that every contender gets the same job, the same core and one thread, and that a run that fails ends the
benchmark. What the numbers mean is the target's business.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parent.parent
BENCH = ROOT / ".bench"
THREAD_COUNTS = (
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",
)
ONE_THREAD = {**dict.fromkeys(THREAD_COUNTS, "1"), "TOKENIZERS_PARALLELISM": "false"}
_LAST_LINES = 15


class BenchmarkError(RuntimeError):
    """A target that could not be measured, and why."""


@dataclass(frozen=True)
class Contender:
    """A module that is run as a program (see `benchmarks.inside`), by its interpreter. `job` is for it alone."""

    name: str
    python: Path
    module: str
    job: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Run:
    """One run: what the contender reported, its folder, and what the whole process cost, start-up included.

    `cpu` (CPU-seconds, user and system) is of the process tree: the process and all descendants that were waited
    for. `wall` is in seconds; `peak_memory` is the resident bytes of the largest process of the tree.
    """

    report: Mapping[str, Any]
    folder: Path
    cpu: float
    wall: float
    peak_memory: int

    @property
    def timed_cpu(self) -> float:
        """CPU-seconds of all timed phases, as the contender measured them in its own process."""
        return sum(self.report["cpu"].values())


@contextmanager
def work_folder(target: str) -> Generator[Path]:
    """An empty folder for a target's runs, deleted afterwards."""
    BENCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BENCH, prefix=f"{target}-") as folder:
        yield Path(folder)


def side_by_side(
    contenders: Sequence[Contender], job: Mapping[str, Any], rounds: int, work: Path
) -> dict[str, list[Run]]:
    """Runs by contender: A B A B …, after one round that is not measured and warms caches on disk.

    Each job gets an empty folder `work` of its own, below `work`. Raises BenchmarkError.
    """
    runs: dict[str, list[Run]] = {contender.name: [] for contender in contenders}
    for number in range(rounds + 1):
        for place, contender in enumerate(contenders):
            folder = work / f"round-{number}/{place}"
            folder.mkdir(parents=True)
            # The unmeasured round compiles and caches: the small corpus does that as well.
            inputs = {**job, "corpus": job["warm_up"]} if number == 0 else job
            run = run_once(contender, inputs, folder)
            if number:
                runs[contender.name].append(run)
                progress(f"round {number} of {rounds}: {contender.name}: {run.cpu:.1f} CPU-seconds")
    return runs


def run_once(contender: Contender, job: Mapping[str, Any], folder: Path) -> Run:
    """Run a contender in an empty folder. Raises BenchmarkError where it fails, with the end of what it wrote."""
    arguments = json.dumps({**job, **contender.job, "work": str(folder)})
    command = [str(contender.python), "-m", contender.module, arguments]
    with (folder / "stdout").open("w+") as stdout, (folder / "stderr").open("w+") as stderr:
        begin = time.perf_counter()
        status, usage = _run_and_wait(command, stdout, stderr)
        wall = time.perf_counter() - begin
        lines = _lines(stdout)
        if status:
            end = "\n".join([*lines, *_lines(stderr)][-_LAST_LINES:])
            raise BenchmarkError(f"{contender.name}: {contender.module} ended with status {status}:\n{end}")
    try:
        report = json.loads(lines[-1])
    except (IndexError, ValueError) as error:
        raise BenchmarkError(f"{contender.name}: {contender.module} reported nothing: {error}") from error
    return Run(report, folder, usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * 1024)


def _run_and_wait(command: Sequence[str], stdout: IO[str], stderr: IO[str]) -> tuple[int, resource.struct_rusage]:
    """Exit status, and resources used by the process with all descendants that were waited for."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | ONE_THREAD | {"HF_HUB_OFFLINE": "1"},
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        preexec_fn=_stay_on_one_core,
    )
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage


def _stay_on_one_core() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def _lines(file: IO[str]) -> list[str]:
    file.seek(0)
    return file.read().splitlines()


def progress(message: str) -> None:
    """Tell whoever waits; stdout is for results."""
    print(message, file=sys.stderr, flush=True)
