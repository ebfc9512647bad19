"""The validation set of a version: whose rows lie where, and that it is the one the version names."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from llm_assets.contract.shard_partition import read_provenance
from llm_assets.stages.mix.version.validation_set import open_validation_set, rows_by_source, validation_set_input
from llm_assets.store.shards.shard_set import ShardCorruptError, ShardMissingError
from llm_assets_tests.worlds.held_out_world import HELD_OUT, both_sets, with_held_out
from llm_assets_tests.worlds.world import World


@pytest.fixture
def held(made_world: World, tmp_path: Path) -> World:
    return with_held_out(made_world, tmp_path / "held")


def test_rows_of_a_source_lie_together(held: World) -> None:
    _, held_out = both_sets(held)
    sources = read_provenance(held_out)["source"].to_pylist()
    found = rows_by_source(held_out)
    assert {source: len(rows) for source, rows in found.items()} == HELD_OUT
    for source, rows in found.items():
        assert {sources[row] for row in rows} == {source}


def test_the_version_names_it_as_an_input(held: World, made_world: World) -> None:
    _, held_out = both_sets(held)
    version = held.mixed.committed(held.store, "v1")
    without = made_world.mixed.committed(made_world.store, "v1")
    assert version is not None and without is not None
    ((name, recorded),) = validation_set_input(version).items()
    assert name == "held/mixed[v1]/held_out"
    assert (recorded.digest, recorded.generation) == (held_out.digest, version.generation)
    assert validation_set_input(without) == {}
    details = {name: value for name, value in version.details.items() if name != "held_out"}
    assert validation_set_input(replace(version, details=details)) == {}  # as made when there were no held-out rows


def test_a_set_that_is_gone_is_an_error(held: World) -> None:
    _, held_out = both_sets(held)
    shutil.rmtree(held_out.folder.path)
    with pytest.raises(ShardMissingError, match=re.escape(held_out.uri) + ".*names a validation set"):
        open_validation_set(held.store, "held", "v1")


def test_another_set_in_its_place_is_an_error(held: World) -> None:
    _, held_out = both_sets(held)
    shutil.rmtree(held_out.folder.path)
    shutil.copytree(held.store.packed("docs", "2026-01").path, held_out.folder.path)
    with pytest.raises(ShardCorruptError, match=f"has the digest .*, but the version names {held_out.digest}"):
        open_validation_set(held.store, "held", "v1")
