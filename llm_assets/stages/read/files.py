"""The files of a snapshot, and how they are grouped into parts for parallel reading.

Guarantees that the grouping depends on names and sizes alone, not on the order of a listing. Where files lie, and how
they are opened, is the business of the folder that a part comes with.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO, Protocol

PART_BYTES = 64 << 20


@dataclass(frozen=True)
class InputFile:
    """A file of a snapshot: its path relative to the snapshot's folder (posix) and its size in bytes, as stored."""

    name: str
    size: int


class Openable(Protocol):
    """A folder whose files can be opened."""

    def open(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """Open a file for reading, with seek. Raises OSError."""
        ...


@dataclass(frozen=True)
class ReadPart:
    """The unit of parallel reading: some files of one snapshot, in the order in which they are read."""

    folder: Openable
    files: tuple[InputFile, ...]


def group_files(folder: Openable, files: Iterable[InputFile], target_bytes: int = PART_BYTES) -> list[ReadPart]:
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
