"""One folder of the store, on a local disk or in an object store, addressed by a URI.

Guarantees that `put` is atomic (a rename on a local disk, a single PUT elsewhere) and that nothing outside the folder
is written or deleted.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from llm_assets.errors import LlmAssetsError

_LOCAL = LocalFileSystem()
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")


class OutsideFolderError(LlmAssetsError, ValueError):
    """The name refers to a path outside its folder."""


@dataclass(frozen=True)
class ListedFile:
    """A listed file: its name, its size in bytes, and a `version` that changes when it is written.

    Of a link, all but the name is of the file that it leads to, and `target` is where that lies. `is_file` is not so of
    sockets, and of links to what is no file.
    """

    name: str
    size: int
    version: str
    is_file: bool
    target: str | None = None


@dataclass(frozen=True)
class Folder:
    """A folder by URI (`/data`, `file:///data`, `s3://bucket/data`). It need not exist."""

    uri: str

    @cached_property
    def _resolved(self) -> tuple[Any, str]:
        if ":" not in self.uri:  # what fsspec finds out too, but ten times slower than all else that opens a set
            return _LOCAL, str(Path(self.uri).expanduser().absolute()).rstrip("/")
        filesystem, path = fsspec.url_to_fs(self.uri)
        return filesystem, str(path).rstrip("/")

    @property
    def filesystem(self) -> Any:
        """The fsspec filesystem the folder lives on."""
        return self._resolved[0]

    @property
    def path(self) -> str:
        """The folder within its filesystem, without protocol."""
        return self._resolved[1]

    @property
    def is_local(self) -> bool:
        """True where the operating system can open, map and rename the files."""
        return isinstance(self.filesystem, LocalFileSystem)

    def __truediv__(self, name: str) -> Folder:
        self._inside(name)
        return Folder(f"{self.uri.rstrip('/')}/{name}")

    def _inside(self, name: str) -> str:
        parts = PurePosixPath(name).parts
        if not parts or parts[0] == "/" or ".." in parts:
            raise OutsideFolderError(f"{name!r} is not a name inside {self.uri}")
        return f"{self.path}/{name}"

    def local_path(self, name: str = "") -> Path:
        """Path of a file for the operating system. Raises ValueError unless `is_local`."""
        if not self.is_local:
            raise ValueError(f"{self.uri} is not on a local disk")
        return Path(self._inside(name) if name else self.path)

    def exists(self, name: str) -> bool:
        """True where a file or folder of this name exists in the folder."""
        return bool(self.filesystem.exists(self._inside(name)))

    def names(self) -> list[str]:
        """Names of the files and folders directly in this folder, sorted; empty where it does not exist."""
        self.filesystem.invalidate_cache()
        if not self.filesystem.isdir(self.path):
            return []
        return sorted(PurePosixPath(str(entry)).name for entry in self.filesystem.ls(self.path, detail=False))

    def find(self, below: str = "") -> list[str]:
        """Names of all files below this folder (or one inside it), relative to this folder, sorted."""
        self.filesystem.invalidate_cache()
        start = self._inside(below) if below else self.path
        return sorted(str(path)[len(self.path) + 1 :] for path in self.filesystem.find(start))

    def read(self, name: str) -> bytes:
        """The content of a small file. Raises FileNotFoundError."""
        target = self._inside(name)
        return Path(target).read_bytes() if self.is_local else cast(bytes, self.filesystem.cat_file(target))

    def size(self, name: str) -> int:
        """Size of a file in bytes."""
        return int(self.filesystem.size(self._inside(name)))

    def sizes(self, below: str) -> dict[str, int]:
        """Sizes in bytes of all files below a folder inside this one, by name relative to this folder."""
        return {path[len(self.path) + 1 :]: int(entry["size"]) for path, entry in self._found(below).items()}

    def listing(self) -> list[ListedFile]:
        """All files below this folder, sorted by name.

        One request per folder; none per file, unless the filesystem lists neither times nor tags.
        """
        return sorted((self._listed(path, told) for path, told in self._found().items()), key=lambda file: file.name)

    def _listed(self, path: str, told: Mapping[str, Any]) -> ListedFile:
        name = path[len(self.path) + 1 :]
        if not told.get("islink"):
            return ListedFile(name, int(told["size"]), self._version(path, told), told["type"] == "file")
        target = Path(path).resolve()
        if not target.is_file():
            return ListedFile(name, 0, "", is_file=False, target=str(target))
        led_to = target.stat()
        return ListedFile(name, led_to.st_size, self._version(path, {"mtime": led_to.st_mtime}), True, str(target))

    def _found(self, below: str = "") -> dict[str, dict[str, Any]]:
        """The filesystem's description of each file, by path."""
        self.filesystem.invalidate_cache()
        start = self._inside(below) if below else self.path
        return cast("dict[str, dict[str, Any]]", self.filesystem.find(start, detail=True))

    def _version(self, path: str, told: Mapping[str, Any]) -> str:
        if isinstance(modified := told.get("mtime"), float):
            return str(datetime.fromtimestamp(modified, UTC))
        tags = [str(told[tag]) for tag in ("LastModified", "ETag", "etag") if told.get(tag)]
        return " ".join(tags) or str(self.filesystem.modified(path))

    def put(self, name: str, data: bytes) -> None:
        """Write a small file atomically: readers see the old content or the new one."""
        target = self._inside(name)
        if not self.is_local:
            self.filesystem.pipe_file(target, data)
            return
        with _written(Path(target), data) as temporary:
            temporary.replace(target)

    def put_new(self, name: str, data: bytes) -> bool:
        """Write a small file unless one of this name exists. Returns True if this call wrote it."""
        target = self._inside(name)
        try:
            if not self.is_local:
                self.filesystem.pipe_file(target, data, mode="create")
                return True
            with _written(Path(target), data) as temporary:
                os.link(temporary, target)
        except FileExistsError:
            return False
        return True

    def remove_interrupted_puts(self, older_than_seconds: float) -> None:
        """Delete the temporary files of processes that were killed within `put`."""
        if not self.is_local:
            return
        for name in self.find():
            path = self.local_path(name)
            if not _TEMPORARY.fullmatch(path.name):
                continue
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > older_than_seconds:
                    path.unlink()

    @contextmanager
    def create(self, name: str) -> Generator[IO[bytes]]:
        """Open a new file for writing; synced to disk when closed. Not atomic: for files that no reader knows yet."""
        target = self._inside(name)
        if self.is_local:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
        with self.filesystem.open(target, "wb") as file:
            yield cast("IO[bytes]", file)
            if self.is_local:
                file.flush()
                os.fsync(file.fileno())

    @contextmanager
    def open(self, name: str) -> Generator[IO[bytes]]:
        """Open a file for reading, with seek."""
        with self.filesystem.open(self._inside(name), "rb") as file:
            yield cast("IO[bytes]", file)

    def remove(self, name: str) -> None:
        """Delete a file or folder inside this one. Does nothing where it does not exist."""
        target = self._inside(name)
        try:
            self.filesystem.rm(target, recursive=True)
        except FileNotFoundError:
            return


def read_uri(uri: str) -> bytes:
    """The content of a small file that a user names (`/data/list.txt`, `list.txt`, `s3://bucket/list.txt`).

    Raises OSError, FileNotFoundError where there is none, and ValueError for a URI that fsspec cannot read.
    """
    filesystem, path = fsspec.url_to_fs(uri)
    return cast(bytes, filesystem.cat_file(path))


@contextmanager
def _written(target: Path, data: bytes) -> Generator[Path]:
    """A temporary file beside the target with the data, synced to disk; deleted on exit."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
