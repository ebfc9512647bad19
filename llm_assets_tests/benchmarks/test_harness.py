from __future__ import annotations

import json
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from benchmarks.harness import BenchmarkError, Contender, run_once, side_by_side

PROGRAM = """
import os
from pathlib import Path

from benchmarks.inside import Stopwatch, contend


def run(job):
    print("chatter")
    stopwatch = Stopwatch()
    with stopwatch.phase("work"):
        sum(range(10_000))
    with open(job["diary"], "a") as diary:
        diary.write(f"{job['side']} {Path(job['corpus']).name} {len(os.sched_getaffinity(0))}\\n")
    threads = {name: value for name, value in os.environ.items() if name.endswith("_THREADS")}
    return stopwatch.report() | {"threads": threads, "work": job["work"]}


if __name__ == "__main__":
    contend(run, ["pytest"])
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "made_up_contender.py").write_text(dedent(PROGRAM))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "made_up_contender"


def job(tmp_path: Path) -> dict[str, str]:
    return {"diary": str(tmp_path / "diary"), "corpus": "/large", "warm_up": "/small"}


def test_contenders_take_turns_on_one_core_after_a_round_on_the_small_corpus(module: str, tmp_path: Path) -> None:
    sides = [Contender(name, Path(sys.executable), module, {"side": name}) for name in "AB"]
    runs = side_by_side(sides, job(tmp_path), 2, tmp_path / "work")
    assert (tmp_path / "diary").read_text().splitlines() == ["A small 1", "B small 1", *["A large 1", "B large 1"] * 2]
    assert {name: len(measured) for name, measured in runs.items()} == {"A": 2, "B": 2}
    folders = {run.folder for measured in runs.values() for run in measured}
    assert len(folders) == 4
    for run in runs["A"] + runs["B"]:
        assert run.report["work"] == str(run.folder)
        assert set(run.report["threads"].values()) == {"1"}
        assert 0 < run.timed_cpu <= run.cpu
        assert run.peak_memory > 1_000_000


def test_a_failing_contender_ends_the_benchmark_with_what_it_wrote(tmp_path: Path) -> None:
    broken = Contender("broken", Path(sys.executable), "benchmarks.inside.nothing")
    with pytest.raises(BenchmarkError, match=r"broken: .* status 1:\n(.|\n)*benchmarks\.inside\.nothing"):
        run_once(broken, {}, tmp_path)


def test_a_contender_without_a_report_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mute_contender.py").write_text("print('no json')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(BenchmarkError, match="reported nothing"):
        run_once(Contender("mute", Path(sys.executable), "mute_contender"), {}, tmp_path)


def test_the_report_is_the_last_line_and_names_versions(module: str, tmp_path: Path) -> None:
    side = Contender("A", Path(sys.executable), module, {"side": "A"})
    run = run_once(side, job(tmp_path), tmp_path)
    lines = (tmp_path / "stdout").read_text().splitlines()
    assert lines[0] == "chatter"
    assert json.loads(lines[-1]) == run.report
    assert run.report["versions"] == {"pytest": pytest.__version__}
