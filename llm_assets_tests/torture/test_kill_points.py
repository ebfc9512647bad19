"""Death at the moments that matter: a process ends, without a word, between the two halves of a step.

`make test` tries a few of the moments, `make torture` all.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from llm_assets.definitions import PROJECT
from llm_assets_tests.torture.stores import (
    Reader,
    attempts_on_record,
    begin_everywhere,
    leftovers,
    live_generations,
    visible_bytes,
)
from llm_assets_tests.worlds.world import World

pytestmark = [pytest.mark.torture, pytest.mark.timeout(600)]

_RUN = """
import os, sys
from pathlib import Path
from llm_assets.store import staging, tokenizers
from llm_assets.store.documents import DocumentTable, StagedSnapshot
from llm_assets.store.folder import Folder
from llm_assets.store.token_set import StagedTokenSet
from llm_assets_tests.worlds.world import World

countdown = int(sys.argv[2])

def die_in(owner, name, here=lambda *args: True, after=False):
    right = getattr(owner, name)
    def dying(*args, **kwargs):
        global countdown
        if not here(*args):
            return right(*args, **kwargs)
        countdown -= 1
        result = right(*args, **kwargs) if after or countdown >= 0 else None
        if countdown < 0:
            os._exit(77)
        return result
    setattr(owner, name, dying)

def named(text):
    return lambda *args: any(text in str(arg) for arg in args[1:])

exec(sys.argv[3])
World.below(Path(sys.argv[1])).run_all()
"""


@dataclass(frozen=True)
class Point:
    """Where the process dies, as code; at which of its visits there; and how many partitions are there by then."""

    name: str
    code: str
    visit: int
    committed: int

    def __str__(self) -> str:
        return f"{self.name}-{self.visit}"


FULL = os.environ.get("LLM_ASSETS_TORTURE") == "full"
BEFORE_LOG, AFTER_LOG = "between_manifest_and_log_entry", "between_log_entry_and_end_of_attempt"
POINTS = [
    Point(BEFORE_LOG, "die_in(DocumentTable, '_commit_once')", 4, 4),
    Point(AFTER_LOG, "die_in(DocumentTable, '_commit_once', after=True)", 5, 6),
    Point("within_the_put_of_an_index", "die_in(Path, 'replace', named('index.json'))", 1, 11),
    Point("after_a_version_is_registered", "die_in(os, 'link', named('recipe.json'), after=True)", 0, 16),
]
MORE_POINTS = [
    Point(BEFORE_LOG, "die_in(DocumentTable, '_commit_once')", 0, 0),
    Point(AFTER_LOG, "die_in(DocumentTable, '_commit_once', after=True)", 0, 1),
    Point("while_the_table_is_created", "die_in(DocumentTable, '_create', after=True)", 1, 1),
    Point("after_a_part_was_written", "die_in(Folder, 'create', named('disposition='))", 2, 1),
    Point("between_the_files_of_a_tokenizer", "die_in(Folder, 'put_new', named('tokenizer.json'))", 0, 9),
    Point("after_the_tokenizer", "die_in(Folder, 'put_new', named('tokenizer.json'), after=True)", 0, 10),
    Point("before_the_index_of_tokens", "die_in(Folder, 'put', named('index.json'))", 0, 10),
    Point("after_the_index_of_tokens", "die_in(Folder, 'put', named('index.json'), after=True)", 0, 11),
    Point("within_the_put_of_an_index", "die_in(Path, 'replace', named('index.json'))", 0, 10),
    Point("within_a_shard", "die_in(Folder, 'create', named('shard-00000'), after=True)", 0, 11),
    Point("before_provenance", "die_in(Folder, 'create', named('provenance'))", 1, 13),
    Point("before_the_index_of_shards", "die_in(Folder, 'put', named('index.json'))", 1, 11),
    Point("after_the_index_of_shards", "die_in(Folder, 'put', named('index.json'), after=True)", 5, 16),
    Point("before_a_version_is_registered", "die_in(os, 'link', named('recipe.json'))", 0, 16),
    Point("before_a_snapshot_is_registered", "die_in(os, 'link', named('order/000001'))", 0, 0),
    Point("after_a_snapshot_is_registered", "die_in(os, 'link', named('order/000000'), after=True)", 1, 6),
    Point("before_the_index_of_a_mixture", "die_in(Folder, 'put', named('index.json'))", 6, 16),
    Point("after_the_index_of_a_mixture", "die_in(Folder, 'put', named('index.json'), after=True)", 6, 17),
    Point("at_the_end_of_an_attempt", "die_in(staging.Attempt, 'end')", 9, 11),
]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World.below(tmp_path_factory.mktemp("undisturbed"))
    world.land_small()
    world.run_all()
    return world


@pytest.mark.parametrize("point", POINTS + (MORE_POINTS if FULL else []), ids=str)
def test_a_process_dies(point: Point, undisturbed: World, tmp_path: Path) -> None:
    world = World.below(tmp_path)
    world.land_small()
    died = subprocess.run(
        [sys.executable, "-c", _RUN, str(tmp_path), str(point.visit), point.code],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert died.returncode == 77, died.stderr
    assert len(world.digests()) == point.committed
    reader = Reader(tmp_path)
    reader.read_everything()
    assert sum(reader.reads.values()) == point.committed

    assert world.run_all() == "v1"
    assert world.digests() == undisturbed.digests()
    assert visible_bytes(tmp_path) == visible_bytes(Path(undisturbed.store.root.path))
    assert attempts_on_record(tmp_path) == []
    begin_everywhere(tmp_path)
    assert leftovers(tmp_path) == []
    reader.read_everything()


def test_the_small_store_is_undisturbed(undisturbed: World) -> None:
    """That the comparisons above are about something."""
    root = Path(undisturbed.store.root.path)
    assert len(undisturbed.digests()) == 17
    assert len(live_generations(root)) == 16 and leftovers(root) == []
    names = {name.split("/")[-1] for name in visible_bytes(root)}
    assert {"tokenizer.json", "shard-00000.arrow", "shards.arrow", "provenance.parquet"} < names
    assert sum(len(packed.lineage) for packed, _ in undisturbed.snapshots()) == 15
