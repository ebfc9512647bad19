from __future__ import annotations

import pytest

from llm_assets.loader import preparation
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets_tests.loader.sets import LENGTH, write


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    return write(tmp_path_factory.mktemp("set"), 101)


@pytest.fixture(autouse=True)
def few_tokens_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that small sets too are read in several goes, of several batches each."""
    monkeypatch.setattr(preparation, "_TOKENS_AT_ONCE", 7 * LENGTH + 1)
