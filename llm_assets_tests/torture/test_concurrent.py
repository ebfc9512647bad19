"""Several processes make everything in the same store at once: all succeed, and readers see whole partitions only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llm_assets.definitions import PROJECT
from llm_assets_tests.torture.stores import attempts_on_record, begin_everywhere, leftovers, reading, visible_bytes
from llm_assets_tests.worlds.world import World

PROCESSES = 4 if os.environ.get("LLM_ASSETS_TORTURE") == "full" else 2
_RUN = """
import sys
from pathlib import Path
from llm_assets_tests.worlds.world import World
print(World.below(Path(sys.argv[1])).run_all())
"""

pytestmark = [pytest.mark.torture, pytest.mark.timeout(600)]


def test_everything_is_made_by_several_at_once(made_world: World, tmp_path: Path) -> None:
    world = World.below(tmp_path)
    world.land_small()
    with reading(tmp_path) as reader:
        running = [
            subprocess.Popen(
                [sys.executable, "-c", _RUN, str(tmp_path)],
                cwd=PROJECT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for _ in range(PROCESSES)
        ]
        outputs = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [0] * PROCESSES, "\n".join(outputs)
    assert {output.strip() for output in outputs} == {"v1"}
    assert sum(reader.reads.values()) > 0
    assert world.digests() == made_world.digests()
    assert visible_bytes(tmp_path) == visible_bytes(Path(made_world.store.root.path))
    assert attempts_on_record(tmp_path) == []
    begin_everywhere(tmp_path)
    assert leftovers(tmp_path) == []


@pytest.fixture(scope="module")
def made_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World.below(tmp_path_factory.mktemp("alone"))
    world.land_small()
    world.run_all()
    return world
