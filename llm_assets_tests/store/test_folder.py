from __future__ import annotations

import errno
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from llm_assets.store.folder import Folder, OutsideFolderError, read_uri


@pytest.fixture(params=["local", "file", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    name = tmp_path.name
    return Folder(
        {"local": f"{tmp_path}/f", "file": f"file://{tmp_path}/f", "memory": f"memory://{name}/f"}[request.param]
    )


def test_put_read_replace_and_remove(folder: Folder) -> None:
    assert folder.names() == [] and folder.find() == [] and not folder.exists("a/b.json")
    folder.put("a/b.json", b"one")
    folder.put("a/b.json", b"two!")
    folder.put("c", b"")
    assert folder.read("a/b.json") == b"two!" and folder.size("a/b.json") == 4
    assert folder.names() == ["a", "c"] and folder.find() == ["a/b.json", "c"] and folder.find("a") == ["a/b.json"]
    assert folder.sizes("a") == {"a/b.json": 4} and folder.sizes("nowhere") == {}
    assert (folder / "a").names() == ["b.json"]
    folder.remove("a")
    folder.remove("a")
    assert folder.find() == ["c"]
    with pytest.raises(FileNotFoundError):
        folder.read("a/b.json")


def test_a_file_is_read_by_its_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "list.txt").write_bytes(b"one")
    assert read_uri(f"{tmp_path}/list.txt") == read_uri(f"file://{tmp_path}/list.txt") == b"one"
    monkeypatch.chdir(tmp_path)
    assert read_uri("list.txt") == b"one"
    Folder(f"memory://{tmp_path.name}").put("in/a", b"two")
    assert read_uri(f"memory://{tmp_path.name}/in/a") == b"two"
    for missing in (f"{tmp_path}/none", "/no-such-file-at-the-root"):
        with pytest.raises(FileNotFoundError):
            read_uri(missing)
    with pytest.raises(OSError, match=re.escape(str(tmp_path))):
        read_uri(str(tmp_path))


def test_put_new_writes_once(folder: Folder) -> None:
    assert folder.put_new("v1/recipe.json", b"first")
    assert not folder.put_new("v1/recipe.json", b"second")
    assert folder.read("v1/recipe.json") == b"first"
    assert folder.find() == ["v1/recipe.json"]


def test_create_and_open(folder: Folder) -> None:
    with folder.create("deep/er/file") as file:
        file.write(b"0123456789")
    with folder.open("deep/er/file") as file:
        file.seek(4)
        assert file.read(3) == b"456"


@pytest.mark.parametrize("name", ["..", "../x", "a/../../x", "/etc/passwd", "", ".", "a/.."])
def test_no_name_leads_outside(folder: Folder, name: str) -> None:
    attempts: list[Any] = [
        lambda: folder / name,
        lambda: folder.put(name, b""),
        lambda: folder.put_new(name, b""),
        lambda: folder.read(name),
        lambda: folder.size(name),
        lambda: folder.exists(name),
        lambda: folder.remove(name),
        lambda: folder.create(name).__enter__(),
        lambda: folder.open(name).__enter__(),
    ]
    folder.put("kept", b"")
    for attempt in attempts:
        with pytest.raises(OutsideFolderError):
            attempt()
    assert folder.find() == ["kept"]


def test_only_local_folders_have_paths(folder: Folder, tmp_path: Path) -> None:
    if folder.is_local:
        assert folder.local_path("a/b") == tmp_path / "f/a/b"
        assert folder.local_path() == tmp_path / "f"
    else:
        with pytest.raises(ValueError):
            folder.local_path("a")


def test_a_put_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(str(tmp_path))
    folder.put("index.json", b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for write in (folder.put, folder.put_new):
        with pytest.raises(OSError, match="no space"):
            write("index.json", b"new")
    assert folder.read("index.json") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["index.json"]


def test_a_reader_of_a_file_that_is_replaced_keeps_the_old_one(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    folder.put("index.json", b"old")
    with folder.open("index.json") as file:
        folder.put("index.json", b"new")
        assert file.read() == b"old"


def test_leftovers_of_killed_puts_are_removed_when_they_are_old(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    leftover, recent, own = ".index.json.0a1b2c3d.tmp", "sub/.x.00000000.tmp", ".hidden.tmp"
    for name in (leftover, recent, own, "index.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    for name in (leftover, own, "index.json"):
        os.utime(tmp_path / name, (time.time() - 7200,) * 2)
    folder.remove_interrupted_puts(older_than_seconds=3600)
    assert folder.find() == sorted([recent, own, "index.json"])


def test_a_listing_tells_of_every_file_what_a_look_at_it_would(folder: Folder, tmp_path: Path) -> None:
    assert folder.listing() == []
    contents = {"a/deep/z.txt": b"zz", "b.txt": b"", "a b.txt": b"a", "ä.txt": "ä".encode()}
    for name, content in contents.items():
        folder.put(name, content)
    listing = folder.listing()
    assert [(file.name, file.size, file.is_file) for file in listing] == [
        (name, len(content), True) for name, content in sorted(contents.items())
    ]
    assert folder.listing() == listing
    before = {file.name: file.version for file in listing}
    time.sleep(0.02)  # more than a filesystem's clock needs to tell two writes apart
    folder.put("b.txt", b"")
    assert {file.name for file in folder.listing() if file.version != before[file.name]} == {"b.txt"}


def test_a_link_is_listed_as_the_file_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_bytes(b"one")
    (tmp_path / "link.txt").symlink_to(tmp_path / "file.txt")
    (tmp_path / "nowhere.txt").symlink_to(tmp_path / "nowhere")
    listing = Folder(str(tmp_path)).listing()
    target = str((tmp_path / "file.txt").resolve())
    assert [(file.name, file.size, file.is_file, file.target) for file in listing] == [
        ("file.txt", 3, True, None),
        ("link.txt", 3, True, target),
        ("nowhere.txt", 0, False, str((tmp_path / "nowhere").resolve())),
    ]


def test_a_listing_looks_at_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(str(tmp_path))
    for number in range(20):
        folder.put(f"{number % 3}/{number}", b"x")
    looks: list[str] = []
    monkeypatch.setattr(LocalFileSystem, "modified", lambda _, path: looks.append(path))
    monkeypatch.setattr(LocalFileSystem, "exists", lambda _, path: looks.append(path))
    assert len(folder.listing()) == 20 and not looks


def test_what_an_object_store_lists_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder("memory://listed")
    folder.put("a", b"x")
    told: dict[str, Any] = {"name": "/listed/a", "size": 1, "type": "file", "LastModified": "2026-11-28", "ETag": "e1"}
    monkeypatch.setattr(MemoryFileSystem, "find", lambda *_, **__: {"/listed/a": told})
    monkeypatch.setattr(MemoryFileSystem, "modified", lambda *_: 1 / 0)
    (before,) = folder.listing()
    told["ETag"] = "e2"
    (after,) = folder.listing()
    assert before.version != after.version
