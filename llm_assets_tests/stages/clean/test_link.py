"""The files that a source's cleaning names: read once to clean, told apart without reading, missed by name."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from llm_assets.contract.link import MissingInputError, State
from llm_assets.stages.clean.language.language import bundled_model
from llm_assets.stages.clean.link import CleanedLink
from llm_assets.stages.clean.parameters import CleanParameters
from llm_assets.store.named_files import NamedFileError
from llm_assets_tests.worlds.cleaned_world import CleanedWorld, mixed_texts

FILES = ["spam.txt", "sites.txt", "mine.ftz"]


@pytest.fixture
def world(tmp_path: Path) -> CleanedWorld:
    (tmp_path / "sites.txt").write_text("bücher.example\r\n", "utf-8")
    shutil.copy(bundled_model(), tmp_path / "mine.ftz")
    spam, sites, model = (str(tmp_path / name) for name in FILES)
    return CleanedWorld.below(
        tmp_path,
        {"s": mixed_texts(30, 2)},
        blocklists=[{"name": "spam", "words": spam, "domains": sites}, {"name": "again", "words": spam}],
        language={"model": model, "min_confidence": None},
    )


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose content is read."""
    read: list[str] = []

    def cat_file(self: Any, path: str) -> bytes:
        read.append(Path(path).name)
        return Path(path).read_bytes()

    monkeypatch.setattr(LocalFileSystem, "cat_file", cat_file)
    return read


def test_each_file_is_read_once_to_clean_and_is_what_the_manifest_names(world: CleanedWorld, reads: list[str]) -> None:
    staged = world.cleaned_with(world.link.parameters, "s")
    staged.discard()
    assert sorted(reads) == sorted(FILES)
    inputs = staged.manifest.inputs
    for uri in world.link.parameters.files:
        digest = hashlib.blake2b(Path(uri).read_bytes(), digest_size=16).hexdigest()
        assert inputs[f"file/{uri}"].digest == digest
    assert inputs == world.link.inputs(world.store, "s")


def test_the_state_is_told_without_reading(
    world: CleanedWorld, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llm_assets.store.named_files._RACY_SECONDS", -1.0)  # as if all were written long ago
    assert world.link.state(world.store, "s") is State.CURRENT
    reads.clear()
    for _ in range(3):
        assert world.link.state(world.store, "s") is State.CURRENT
    assert not reads


def test_another_content_of_a_file_makes_it_stale(world: CleanedWorld) -> None:
    spam = Path(world.link.parameters.files[0])
    times, content = spam.stat(), spam.read_bytes()
    spam.write_bytes(content.swapcase())
    os.utime(spam, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert world.link.state(world.store, "s") is State.STALE
    spam.write_bytes(content)
    assert world.link.state(world.store, "s") is State.CURRENT


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_gone_is_missed_by_name(world: CleanedWorld, name: str) -> None:
    path = next(Path(uri) for uri in world.link.parameters.files if uri.endswith(name))
    path.unlink()
    for look in (world.link.inputs, lambda *_: world.cleaned_with(world.link.parameters, "s")):
        with pytest.raises(MissingInputError, match=f"{name} is not there: the source's `clean` names it"):
            look(world.store, "s")
    path.mkdir()
    with pytest.raises(NamedFileError, match=f"{name} cannot be read"):
        world.link.inputs(world.store, "s")


def with_lists(link: CleanedLink, **clean: Any) -> CleanedLink:
    return replace(link, parameters=CleanParameters.model_validate(clean))


def test_without_files_nothing_is_read(world: CleanedWorld, reads: list[str]) -> None:
    plain = with_lists(world.link)
    assert plain.parameters.files == ()
    assert list(plain.inputs(world.store, "s")) == ["web/raw[s]"]
    assert not reads
