"""The same input gives the same digests, whatever the workers, the order of files and the size of parts."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from llm_assets.definitions import PROJECT
from llm_assets.stages.read.files import group_files
from llm_assets.store.folder import Folder
from llm_assets_tests.torture.stores import visible_bytes
from llm_assets_tests.worlds.world import World, jsonl, paragraphs

FILES = {f"{name}.jsonl": jsonl(paragraphs(4 * number, 4 * number + 5)) for number, name in enumerate("edacb")}


def landed(path: Path, workers: int, names: list[str]) -> World:
    """Two snapshots of docs and one of code, the files written in the given order."""
    world = World.below(path, workers)
    for source, snapshot in (("docs", "2026-01"), ("docs", "2026-02"), ("code", "2026-01")):
        shift = {"docs": 0, "code": 40}[source] + {"2026-01": 0, "2026-02": 12}[snapshot]
        files = {**FILES, "deeper/f.jsonl": jsonl(paragraphs(shift, shift + 9)), "z.md": b" ".join(_long())}
        world.land(source, snapshot, {name: files[name] for name in names})
    return world


def _long() -> list[bytes]:
    return [text.encode() for text in paragraphs(100, 110)]


NAMES = [*FILES, "deeper/f.jsonl", "z.md"]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One or two files to a part."""
    monkeypatch.setattr("llm_assets.stages.read.link.group_files", partial(group_files, target_bytes=5000))


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("llm_assets.stages.read.link.group_files", partial(group_files, target_bytes=5000))
        world = landed(tmp_path_factory.mktemp("one"), 1, NAMES)
        world.run_all()
    assert len(world.docs.lineage[0].table(world.store).snapshot("2026-01").parts) > 3  # pyright: ignore
    return world.digests()


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_workers(workers: int, expected: dict[str, str], tmp_path: Path, small_parts: None) -> None:
    world = landed(tmp_path, workers, NAMES)
    world.run_all()
    assert world.digests() == expected


@pytest.mark.parametrize("seed", [1, 2])
def test_files_in_another_order(
    seed: int, expected: dict[str, str], tmp_path: Path, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written in another order, listed in another order."""
    shuffle = random.Random(seed)
    names = [*NAMES]
    shuffle.shuffle(names)
    filesystem = type(Folder("/").filesystem)

    def shuffled(method: Callable[..., Any]) -> Callable[..., Any]:
        def listed(*args: Any, **kwargs: Any) -> Any:
            found = method(*args, **kwargs)
            items = [*found.items()] if isinstance(found, dict) else [*found]
            shuffle.shuffle(items)
            return dict(items) if isinstance(found, dict) else items

        return listed

    for method in ("find", "ls"):
        monkeypatch.setattr(filesystem, method, shuffled(getattr(filesystem, method)))
    world = landed(tmp_path, 2, names)
    world.run_all()
    assert world.digests() == expected


def test_the_size_of_parts(expected: dict[str, str], tmp_path: Path) -> None:
    world = landed(tmp_path, 2, NAMES)
    world.run_all()
    assert world.docs.lineage[0].table(world.store).snapshot("2026-01").parts == [0]  # pyright: ignore
    assert world.digests() == expected


def test_making_it_again(expected: dict[str, str], tmp_path: Path, small_parts: None) -> None:
    """The bytes too."""
    world = landed(tmp_path, 2, NAMES)
    world.run_all()
    before = visible_bytes(tmp_path)
    assert world.run_all() == "v1"
    assert visible_bytes(tmp_path) == before and world.digests() == expected


_RUN = """
import sys
from functools import partial
from pathlib import Path
import llm_assets.stages.read.link
from llm_assets.stages.read.files import group_files
from llm_assets_tests.worlds.world import World
llm_assets.stages.read.link.group_files = partial(group_files, target_bytes=5000)
world = World.below(Path(sys.argv[1]), int(sys.argv[2]))
world.run_all()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "seed", "zone"), [(1, "1", "UTC"), (2, "2", "Pacific/Chatham")])
def test_other_processes(workers: int, seed: str, zone: str, expected: dict[str, str], tmp_path: Path) -> None:
    """Whatever their seeds of hashes, time zones, locales and threads."""
    world = landed(tmp_path, 1, NAMES)
    environment = {"PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": "C", "POLARS_MAX_THREADS": str(workers)}
    subprocess.run(
        [sys.executable, "-c", _RUN, str(tmp_path), str(workers)],
        cwd=PROJECT,
        env={**os.environ, **environment, "RAYON_NUM_THREADS": str(workers)},
        timeout=120,
        check=True,
    )
    assert world.digests() == expected
