"""What tests of the chain share: a store in which everything was made, and copies of it to change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from llm_assets.contract.engine import LocalEngine
from llm_assets.store.folder import Folder
from llm_assets.store.layout import Store
from llm_assets_tests.worlds.world import World


@pytest.fixture(scope="session")
def made_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Everything made once. Not to be changed."""
    world = World.below(tmp_path_factory.mktemp("world") / "store")
    world.land_small()
    world.run_all()
    return world


@pytest.fixture
def world(made_world: World, tmp_path: Path) -> World:
    """A copy of it, to be changed."""
    root = tmp_path / "store"
    shutil.copytree(made_world.store.root.path, root)
    return World(Store(Folder(str(root))), LocalEngine(2), made_world.docs, made_world.code, made_world.mixed)
