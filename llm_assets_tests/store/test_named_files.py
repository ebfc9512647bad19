from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from llm_assets.store.named_files import NamedFileError, digest_of, read_named


def digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths whose content is read."""
    read: list[str] = []

    def cat_file(self: Any, path: str, *_: Any, **__: Any) -> bytes:
        read.append(path)
        with self.open(path, "rb") as file:
            return file.read()

    for kind in (LocalFileSystem, MemoryFileSystem):
        monkeypatch.setattr(kind, "cat_file", cat_file)
    return read


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute from now, so that what was just written was not."""
    now = time.time
    monkeypatch.setattr("llm_assets.store.named_files.time.time", lambda: now() + 60)


@pytest.mark.usefixtures("clock")
def test_a_file_that_stays_as_it_is_is_read_once(tmp_path: Path, reads: list[str]) -> None:
    path = tmp_path / "wörter.txt"
    path.write_bytes(b"one\r\n")
    assert digest_of(str(path)) == digest_of(str(path)) == digest_of(f"{path}") == digest(b"one\r\n")
    assert reads == [str(path)]
    assert read_named(str(path)).data == b"one\r\n"
    assert len(reads) == 2


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("kept", ["nothing", "time"])
def test_another_content_of_the_same_size_is_seen(tmp_path: Path, kept: str) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"one")
    times = path.stat()
    assert digest_of(str(path)) == digest(b"one")
    time.sleep(0.02)  # more than a filesystem's clock needs to tell two writes apart
    path.write_bytes(b"two")
    if kept == "time":
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert digest_of(str(path)) == digest(b"two")


@pytest.mark.usefixtures("clock")
def test_what_a_link_leads_to_is_what_counts(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "list.txt").write_text(name)
    (tmp_path / "now").symlink_to("one")
    (tmp_path / "list.txt").symlink_to("now/list.txt")
    uri = str(tmp_path / "list.txt")
    assert digest_of(uri) == digest(b"one")
    (tmp_path / "now").unlink()
    (tmp_path / "now").symlink_to("two")
    assert digest_of(uri) == digest(b"two")


def test_a_file_written_just_now_is_read_again(tmp_path: Path, reads: list[str]) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"one")
    assert digest_of(str(path)) == digest(b"one")
    path.write_bytes(b"two")
    os.utime(path, (1, 1))
    assert digest_of(str(path)) == digest(b"two")
    assert len(reads) == 2


def test_where_a_filesystem_tells_no_time_and_no_tag_a_file_is_always_read(tmp_path: Path, reads: list[str]) -> None:
    uri = f"memory://{tmp_path.name}/list.txt"
    for content in (b"one", b"two"):
        fsspec.filesystem("memory").pipe_file(f"/{tmp_path.name}/list.txt", content)
        assert digest_of(uri) == digest_of(uri) == digest(content)
    assert len(reads) == 4


def test_where_it_tells_a_tag_the_tag_decides(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"memory://{tmp_path.name}/list.txt"
    tag = "a"
    monkeypatch.setattr(MemoryFileSystem, "info", lambda *_, **__: {"size": 3, "type": "file", "ETag": tag})
    fsspec.filesystem("memory").pipe_file(f"/{tmp_path.name}/list.txt", b"one")
    assert digest_of(uri) == digest_of(uri) == digest(b"one")
    assert len(reads) == 1
    tag = "b"
    assert digest_of(uri) == digest(b"one")
    assert len(reads) == 2


def test_a_file_that_changes_while_it_is_read_is_not_remembered(
    tmp_path: Path, clock: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"one")

    def cat_file(self: Any, name: str) -> bytes:
        data = Path(name).read_bytes()
        time.sleep(0.02)
        Path(name).write_bytes(b"two")
        return data

    with monkeypatch.context() as patch:
        patch.setattr(LocalFileSystem, "cat_file", cat_file)
        assert digest_of(str(path)) == digest(b"one")
    assert digest_of(str(path)) == digest(b"two")


@pytest.mark.parametrize("look", [read_named, digest_of])
def test_what_cannot_be_read_is_named(tmp_path: Path, look: Any) -> None:
    for missing in (f"{tmp_path}/none.txt", f"memory://{tmp_path.name}/none.txt"):
        with pytest.raises(FileNotFoundError):
            look(missing)
    for unreadable in (str(tmp_path), "nowhere://list.txt"):
        with pytest.raises(NamedFileError, match=unreadable):
            look(unreadable)
