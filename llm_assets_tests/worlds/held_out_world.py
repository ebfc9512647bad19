"""A world with a mixture that holds rows out, for tests of what is done with them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from llm_assets.contract.engine import LocalEngine
from llm_assets.contract.shard_partition import open_shards
from llm_assets.stages.mix.recipe import HeldOutParameters
from llm_assets.stages.mix.version.validation_set import open_validation_set
from llm_assets.store.folder import Folder
from llm_assets.store.layout import Store
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets_tests.worlds.world import World

HELD_OUT = {"docs": 7, "code": 3}


def with_held_out(world: World, root: Path) -> World:
    """A copy below `root`, with version `v1` of the mixture `held`, which holds out `HELD_OUT` rows."""
    shutil.copytree(world.store.root.path, root)
    held_out = HeldOutParameters.model_validate(
        {"by_source": {name: {"rows": rows} for name, rows in HELD_OUT.items()}}
    )
    mixed = replace(
        world.mixed, name="held", parameters=world.mixed.parameters.model_copy(update={"held_out": held_out})
    )
    copy = World(Store(Folder(str(root))), LocalEngine(2), world.docs, world.code, mixed)
    assert copy.run_mixture() == "v1"
    return copy


def both_sets(world: World) -> tuple[ShardSet, ShardSet]:
    """Rows to train on, and rows held out."""
    shards, held_out = open_shards(world.store.version("held", "v1")), open_validation_set(world.store, "held", "v1")
    assert shards is not None and held_out is not None
    return shards, held_out
