"""Kill -9 of `llm-assets run` at random moments: the next run repairs everything, and no reader ever sees a half.

`make torture` kills 30 times, `make test` 3 times. The seed is printed; LLM_ASSETS_TORTURE_SEED repeats a trial.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from llm_assets.definitions import PROJECT
from llm_assets.demo import write_demo_data
from llm_assets.store.folder import Folder
from llm_assets_tests.torture.stores import (
    TABLES,
    attempts_on_record,
    begin_everywhere,
    fresh_copy,
    leftovers,
    quick_folder,
    reading,
    statuses,
    unfinished_runs,
    visible_bytes,
)

FULL = os.environ.get("LLM_ASSETS_TORTURE") == "full"
KILLS = 30 if FULL else 3
COMMAND = Path(sys.executable).with_name("llm-assets")

pytestmark = [pytest.mark.torture, pytest.mark.timeout(3600)]


@dataclass(frozen=True)
class Place:
    """A store and a Dagster instance of their own."""

    root: Path
    home: Path

    def start(self, command: Sequence[str] = (str(COMMAND),)) -> subprocess.Popen[str]:
        """`llm-assets run demo`, in a process group of its own."""
        self.home.mkdir(exist_ok=True)
        (self.home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        return subprocess.Popen(
            [*command, "run", "demo"],
            cwd=PROJECT,
            env={**os.environ, "LLM_ASSETS_ROOT": str(self.root), "DAGSTER_HOME": str(self.home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def complete(self) -> str:
        """To its end, which must be a good one; what it said."""
        process = self.start()
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, output
        return output

    def kill_after(self, seconds: float) -> bool:
        """Whether the run was still going when it was killed."""
        process = self.start()
        try:
            process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return True
        return False


def test_killed_at_random_moments(tmp_path: Path) -> None:
    seed = int(os.environ.get("LLM_ASSETS_TORTURE_SEED", random.SystemRandom().randrange(10**6)))
    moments = random.Random(seed)
    print(f"\nseed {seed}, {KILLS} kills")
    landing = tmp_path / "landing"
    write_demo_data(Folder(str(landing)), megabytes=1)
    with quick_folder() as folder:
        place = Place(fresh_copy(landing, folder), folder / "home")
        began = time.monotonic()
        with reading(place.root):
            place.complete()
        duration = time.monotonic() - began
        expected, expected_bytes = statuses(place.root), visible_bytes(place.root)
    assert len(expected) == 17 and all(status.startswith("current ") for status in expected.values()), expected
    assert len(expected_bytes) > 17

    kills = trial = 0
    stages: set[str] = set()
    while kills < KILLS:
        trial += 1
        moment = moments.uniform(0.02, 1) * duration
        with quick_folder() as folder:
            place = Place(fresh_copy(landing, folder), folder / "home")
            with reading(place.root) as reader:
                killed = place.kill_after(moment)
                made = {stage for stage in (*TABLES, "tokenized", "packed", "mixed") if stage in reader.reads}
                output = place.complete()
                reader.read_everything()
            kills += killed
            duration = duration if killed else min(duration, moment)
            print(f"trial {trial}: {'killed' if killed else 'over'} after {moment:.1f} s; read {reader.reads}")
            where = f"seed {seed}, trial {trial}\n{output}"
            assert statuses(place.root) == expected, where
            assert visible_bytes(place.root) == expected_bytes, where
            assert attempts_on_record(place.root) == [], where
            begin_everywhere(place.root)
            assert leftovers(place.root) == [], where
            assert unfinished_runs(place.home) == [], where
        stages |= made
    print(f"seen when killed: {sorted(stages)}")


_COMMIT_AND_DIE = """
import os, sys
from llm_assets.resources.io_manager import PartitionIOManager
commit, countdown = PartitionIOManager.handle_output, int(sys.argv.pop(1))
def commit_and_die(self, context, staged):
    global countdown
    commit(self, context, staged)
    countdown -= 1
    if countdown < 0:
        os._exit(77)
PartitionIOManager.handle_output = commit_and_die
from llm_assets.cli.app import app
app()
"""


@pytest.mark.parametrize("commits", [0, 4, 9, 11, 13, 16] if FULL else [11])
def test_killed_between_the_commit_and_what_dagster_knows_of_it(commits: int, tmp_path: Path) -> None:
    """The store has a partition of which the instance has no materialization: the next run makes both agree."""
    write_demo_data(Folder(str(tmp_path / "landing")), megabytes=1)
    with quick_folder() as folder:
        place = Place(fresh_copy(tmp_path / "landing", folder), folder / "home")
        died = place.start([sys.executable, "-c", _COMMIT_AND_DIE, str(commits)])
        output, _ = died.communicate(timeout=600)
        assert died.returncode == 77, output
        before = statuses(place.root)
        made = {name for name, status in before.items() if status.startswith("current")}
        assert len(made) == commits + 1
        with reading(place.root):
            place.complete()
        after = statuses(place.root)
        assert len(after) == 17 and all(status.startswith("current") for status in after.values())
        assert {name: after[name] for name in made} == {name: before[name] for name in made}
        assert materialized(place.home) == {name: status.split()[1] for name, status in after.items()}
        assert attempts_on_record(place.root) == [] and unfinished_runs(place.home) == []


def materialized(home: Path) -> dict[str, str]:
    """The data version of every partition that the instance knows."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        found: dict[str, str] = {}
        for key in instance.all_asset_keys():
            for partition in instance.get_materialized_partitions(key) or [None]:
                record = instance.get_latest_data_version_record(key, partition_key=partition)
                assert record is not None and record.asset_materialization is not None
                version = (record.asset_materialization.tags or {})["dagster/data_version"]
                found[f"{'/'.join(key.path)}[{partition or ''}]"] = version
        return found
