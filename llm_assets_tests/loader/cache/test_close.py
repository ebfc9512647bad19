"""A closed set: nothing of it is on its way any more, and closing does not take long."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.spec import AbstractFileSystem

from llm_assets.loader.cache import CacheSettings, files, open_cached
from llm_assets.loader.cache.folder import MARKER
from llm_assets.loader.cache.shard_cache import ShardCache
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets_tests.loader.cache.test_cached_sets import FETCH, same, until_true

AHEAD = "shards-ahead"


class HeldFiles(AbstractFileSystem):
    """Local files, of which those that `held` names do not come before `released`: `held:///folder`."""

    protocol = "held"
    held = ""
    released = threading.Event()

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        if HeldFiles.held and path.endswith(HeldFiles.held):
            HeldFiles.released.wait(20)
        return Path(self._strip_protocol(path)).read_bytes()[start:end]


fsspec.register_implementation("held", HeldFiles, clobber=True)


@pytest.fixture
def second(source: ShardSet) -> Generator[str]:
    """The second shard does not come, and is this file of a cache."""
    HeldFiles.held = source.index.shard_file(1)
    HeldFiles.released.clear()
    yield source.shards()[1].checksum
    HeldFiles.held = ""
    HeldFiles.released.set()


def running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == AHEAD]


def test_what_is_on_its_way_is_given_up(source: ShardSet, second: str, tmp_path: Path) -> None:
    folder, others = tmp_path / "c", {*running()}
    shards = open_cached(f"held://{source.uri}", CacheSettings(folder, 1 << 20, fetch=FETCH))
    shards.input_ids(0, 1)
    until_true((folder / f"{second}.part").exists)
    began = time.monotonic()
    shards.close()
    assert time.monotonic() - began < 2
    assert {*running()} <= others
    first = source.shards()[0].checksum
    there = {MARKER, f"{first}.shard"}
    assert {file.name for file in folder.iterdir()} == there
    HeldFiles.released.set()
    time.sleep(0.2)
    assert {file.name for file in folder.iterdir()} == there
    assert not shards.counters.prefetch_failures
    same(shards, source, 0, source.rows)
    shards.close()
    assert {*running()} <= others


def test_a_thread_that_does_not_end_is_left_behind(
    source: ShardSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    entered, released, left = threading.Event(), threading.Event(), threading.Event()
    obtain = ShardCache.obtain

    def stuck(shard_cache: ShardCache, *arguments: Any, **others: Any) -> Any:
        if threading.current_thread().name == AHEAD:
            entered.set()
            released.wait(20)
            left.set()
            return None
        return obtain(shard_cache, *arguments, **others)

    monkeypatch.setattr(ShardCache, "obtain", stuck)
    monkeypatch.setattr(files, "_CLOSE_SECONDS", 0.1)
    shards = open_cached(source.uri, CacheSettings(tmp_path / "c", 1 << 20, patience_seconds=0.1, fetch=FETCH))
    shards.input_ids(0, 1)
    assert entered.wait(5)
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        shards.close()
    assert 0.2 <= time.monotonic() - began < 2
    assert "0.2 s after its set was closed" in caplog.text
    released.set()
    assert left.wait(5)


def test_a_set_that_is_forgotten_ends_its_thread(source: ShardSet, second: str, tmp_path: Path) -> None:
    others = {*running()}
    shards = open_cached(f"held://{source.uri}", CacheSettings(tmp_path / "c", 1 << 20, fetch=FETCH))
    shards.input_ids(0, 1)
    until_true((tmp_path / "c" / f"{second}.part").exists)
    del shards
    until_true(lambda: {*running()} <= others)
    assert not [*(tmp_path / "c").glob("*.part")]
