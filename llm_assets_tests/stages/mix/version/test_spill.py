"""Spilling: too little room is said at once, a full disk leaves nothing, a killed process is swept, and what a version
came to is the same with any number of buckets and workers.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llm_assets.contract.engine import LocalEngine
from llm_assets.definitions import PROJECT
from llm_assets.stages.mix.link import NoRoomError
from llm_assets.stages.mix.version import shuffle
from llm_assets.stages.mix.version import spill as spill_module
from llm_assets.stages.mix.version.inputs import PlannedMixture
from llm_assets.stages.mix.version.spill import PREFIX, spill_folder, sweep_spills
from llm_assets.store.folder import Folder
from llm_assets.store.process import WriterProcess
from llm_assets.store.staging import ABANDONED_AFTER_SECONDS, Attempt
from llm_assets_tests.stages.mix.test_link import make, mixture
from llm_assets_tests.worlds.world import World

Usage = namedtuple("Usage", "total used free")


def files_of_versions(world: World) -> dict[str, int]:
    return world.store.root.sizes("mixtures")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_said_and_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files_of_versions(world)
    monkeypatch.setattr(shuffle.Shuffle, "rows_per_bucket", 30)
    with (
        files_of_at_most(4_000),
        pytest.raises(shuffle.SpillError, match=r"cannot spill \(File too large\): .*/spill needs [\d,]+ bytes in all"),
    ):
        world.make(world.mixed, "v1")
    assert files_of_versions(world) == before
    world.make(world.mixed, "v1").discard()


def test_a_disk_too_small_for_the_version_is_said_too(world: World) -> None:
    before = files_of_versions(world)
    with (
        files_of_at_most(4_000),
        pytest.raises(NoRoomError, match=r"demo/mixed\[v1\] could not be .* need [\d,]+ bytes"),
    ):
        world.make(world.mixed, "v1")
    assert files_of_versions(world) == before


def test_too_little_room_is_said_before_anything_is_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files_of_versions(world)
    planned = PlannedMixture.of(world.store, world.mixed.recipe(world.store))
    work = shuffle.Shuffle(planned.plan, planned.pool, Path())
    needed = planned.plan.total_rows * work.bytes_per_row
    assert work.spilled_bytes == 0
    monkeypatch.setattr(shuffle.Shuffle, "rows_per_bucket", 3)
    assert work.spilled_bytes == needed
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, needed - 1))
    with monkeypatch.context() as patch:
        patch.setattr(shuffle, "_append", None)
        with pytest.raises(shuffle.SpillError, match=f"{needed:,} bytes in all, and"):
            world.make(world.mixed, "v1")
    assert files_of_versions(world) == before
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, needed))
    world.make(world.mixed, "v1").discard()


def test_what_is_spilled_is_what_was_said(world: World, tmp_path: Path) -> None:
    planned = PlannedMixture.of(world.store, world.mixed.recipe(world.store))
    work = shuffle.Shuffle(planned.plan, planned.pool, tmp_path / "spill")
    work = replace(work, bucket_bytes=3 * work.bytes_per_row)
    rows = work.rows()
    next(rows)
    spilled = sum(file.stat().st_size for file in work.spill.iterdir())
    headers = 32 * planned.plan.total_rows  # at most one for each row: buckets are tiny here
    assert abs(spilled - work.spilled_bytes) <= headers + 4 * planned.plan.total_rows


_KILLED = """
import os, signal, sys
from pathlib import Path
from llm_assets.stages.mix.version import shuffle
from llm_assets_tests.worlds.world import World

right, left = shuffle._append, int(sys.argv[2])
def dying(*args):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    right(*args)
shuffle._append = dying
shuffle.Shuffle.rows_per_bucket = 3
world = World.below(Path(sys.argv[1]))
world.make(world.mixed, "v1")
"""


def test_a_killed_shuffle_is_swept_by_the_next(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files_of_versions(world)
    command = [sys.executable, "-c", _KILLED, str(world.store.root.path), "9"]
    died = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=120)
    assert died.returncode == -9, died.stderr
    left = {*files_of_versions(world)} - {*before}
    assert any("/spill/" in name for name in left)
    committed = world.mixed.committed(world.store, "v1")
    assert committed is not None
    monkeypatch.setattr(shuffle.Shuffle, "rows_per_bucket", 3)
    staged = world.make(world.mixed, "v1")
    assert not left & {*files_of_versions(world)}
    assert staged.manifest.digest == committed.digest
    staged.discard()
    assert files_of_versions(world) == before


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("rows", [1, 7])
def test_workers_and_buckets_change_no_byte(
    world: World, monkeypatch: pytest.MonkeyPatch, workers: int, rows: int
) -> None:
    recipe = {"sources": ["docs", "code"], "held_out": {"tokens": 200}, "max_repetitions": 3, "seed": 2}
    link = mixture(world, **recipe)
    version = make(world, link)
    before = link.committed(world.store, version)
    monkeypatch.setattr(shuffle.Shuffle, "rows_per_bucket", rows)
    again = World(world.store, LocalEngine(workers), world.docs, world.code, world.mixed).make(link, version)
    assert before is not None and again.manifest.digest == before.digest
    again.discard()


# --- a store that is remote -------------------------------------------------------------------------------------------


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(spill_module.tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path


def test_a_remote_store_spills_to_the_temporary_folder_and_leaves_nothing(temporary: Path) -> None:
    attempt = Attempt(Folder("memory://somewhere"), "a" * 12, lambda: [])
    with spill_folder(attempt) as spill:
        assert spill.parent.parent == temporary and not spill.exists()
        spill.mkdir()
        sweep_spills(temporary)
        assert spill.exists()
    assert not [*temporary.iterdir()]


def left_behind(temporary: Path, name: str, writer: dict[str, Any] | None, age: float = 0.0) -> Path:
    folder = temporary / f"{PREFIX}{name}"
    (folder / "spill").mkdir(parents=True)
    (folder / "spill/000000").write_bytes(b"rows")
    if writer is not None:
        (folder / "process.json").write_text(json.dumps(writer))
    return folder


def test_what_dead_processes_spilled_is_swept(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    this = WriterProcess.this()
    dead = left_behind(temporary, "dead", replace(this, began=this.began - 1_000).as_dict())
    alive = left_behind(temporary, "alive", this.as_dict())
    elsewhere = left_behind(temporary, "elsewhere", replace(this, place="other").as_dict())
    unnamed = left_behind(temporary, "unnamed", None)
    others = temporary / "somebody-else"
    others.mkdir()
    (temporary / f"{PREFIX}link").symlink_to(others)
    with spill_folder(Attempt(Folder("memory://somewhere"), "a" * 12, lambda: [])):
        assert not dead.exists()
        assert all(folder.exists() for folder in (alive, elsewhere, unnamed, others))
    now = elsewhere.stat().st_ctime
    monkeypatch.setattr(spill_module.time, "time", lambda: now + ABANDONED_AFTER_SECONDS + 100)
    sweep_spills(temporary)
    assert alive.exists() and others.exists() and not elsewhere.exists() and not unnamed.exists()


def test_what_another_user_spilled_stays(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    this = WriterProcess.this()
    dead = left_behind(temporary, "dead", replace(this, began=this.began - 1_000).as_dict())
    monkeypatch.setattr(spill_module.os, "getuid", lambda: dead.stat().st_uid + 1)
    sweep_spills(temporary)
    assert dead.exists()
