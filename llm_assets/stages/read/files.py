"""The files of a snapshot, and how they are grouped into parts for parallel reading.

Guarantees that the grouping depends on names and sizes alone, not on the order of a listing. Opens no file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, cast

from llm_assets.store.folder import Folder

PART_BYTES = 64 << 20


@dataclass(frozen=True)
class InputFile:
    """A file of a snapshot: its path relative to the snapshot's folder (posix) and its size in bytes, as stored."""

    name: str
    size: int


@dataclass(frozen=True)
class ReadPart:
    """The unit of parallel reading: some files of one snapshot, in the order in which they are read."""

    folder: Folder
    files: tuple[InputFile, ...]


def list_files(folder: Folder) -> list[InputFile]:
    """All files below `folder`, sorted by name; without those where any part of the name starts with `_` or `.`.

    Raises FileNotFoundError where there is no such folder, and ValueError for what is neither file nor folder (a
    socket, a link that leads nowhere): skipping it would lose data unseen.
    """
    filesystem = folder.filesystem
    filesystem.invalidate_cache()
    if not filesystem.isdir(folder.path):
        raise FileNotFoundError(f"{folder.uri} is not a folder")
    found = cast("dict[str, dict[str, Any]]", filesystem.find(folder.path, detail=True))
    files: list[InputFile] = []
    for path, info in found.items():
        name = path.removeprefix(f"{folder.path}/")
        if any(step.startswith(("_", ".")) for step in PurePosixPath(name).parts):
            continue
        if info["type"] != "file":
            raise ValueError(f"{name!r} in {folder.uri} is neither a file nor a folder")
        files.append(InputFile(name, int(info["size"])))
    return sorted(files, key=lambda file: file.name)


def group_files(folder: Folder, files: Iterable[InputFile], target_bytes: int = PART_BYTES) -> list[ReadPart]:
    """Parts of about `target_bytes` (as stored) each, of neighbouring files by name; a larger file is a part alone."""
    parts: list[ReadPart] = []
    group: list[InputFile] = []
    size = 0
    for file in sorted(files, key=lambda file: file.name):
        if group and size + file.size > target_bytes:
            parts.append(ReadPart(folder, tuple(group)))
            group, size = [], 0
        group.append(file)
        size += file.size
    if group:
        parts.append(ReadPart(folder, tuple(group)))
    return parts
