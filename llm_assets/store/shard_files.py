"""Byte ranges of the shards of a set: mapped where the operating system can, fetched by range elsewhere.

Guarantees that a read returns all the bytes asked for or raises an error that names the file. Knows nothing of
what the bytes mean. Reading through a cache on local disk: `llm_assets.loader.cache`.
"""

from __future__ import annotations

import mmap
import os
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from llm_assets.store.folder import Folder
from llm_assets.store.shard_index import ShardMissingError, ShardTruncatedError

_MAPS_KEPT = 16
"""Shards kept mapped. Their resident pages count as the process's memory, so not all of a large set."""


class ShardFiles(Protocol):
    """Where the bytes of shards come from."""

    def read(self, file: str, start: int, stop: int) -> NDArray[np.uint8]:
        """Bytes `start` to `stop` (exclusive) of a file, read-only. Raises ShardMissingError, ShardTruncatedError."""
        ...


def shard_files(folder: Folder) -> ShardFiles:
    """The files of a folder, read in the way that suits where it lies."""
    return MappedFiles(folder) if folder.is_local else RemoteFiles(folder)


def file_sizes(folder: Folder) -> dict[str, int]:
    """Sizes in bytes of the files directly in a folder, by name, from one listing; empty where it is not there."""
    folder.filesystem.invalidate_cache()
    try:
        entries = folder.filesystem.ls(folder.path, detail=True)
    except FileNotFoundError:
        return {}
    return {PurePosixPath(str(entry["name"])).name: int(entry["size"]) for entry in entries if entry["type"] == "file"}


class MappedFiles:
    """Files on a local disk, each mapped when it is first read. Results are views of the mapping."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._mapped = lru_cache(maxsize=_MAPS_KEPT)(self._map)

    def read(self, file: str, start: int, stop: int) -> NDArray[np.uint8]:
        """See `ShardFiles.read`."""
        data = self._mapped(file)
        if stop > data.size:
            raise _truncated(self._folder, file, start, stop, data.size - start)
        return data[start:stop]

    def _map(self, file: str) -> NDArray[np.uint8]:
        path = self._folder.local_path(file)
        try:
            with path.open("rb") as opened:
                if os.fstat(opened.fileno()).st_size == 0:
                    return np.empty(0, np.uint8)
                return np.frombuffer(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        except FileNotFoundError as error:
            raise _missing(self._folder, file) from error


class RemoteFiles:
    """Files behind any fsspec filesystem, read by range."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._process = os.getpid()

    def read(self, file: str, start: int, stop: int) -> NDArray[np.uint8]:
        """See `ShardFiles.read`."""
        if start == stop:
            return np.empty(0, np.uint8)
        folder = self._folder_of_this_process()
        try:
            data = folder.filesystem.cat_file(f"{folder.path}/{file}", start=start, end=stop)
        except FileNotFoundError as error:
            raise _missing(folder, file) from error
        if len(data) != stop - start:
            raise _truncated(folder, file, start, stop, len(data))
        return np.frombuffer(data, np.uint8)

    def _folder_of_this_process(self) -> Folder:
        """A forked process has the filesystem object, but not the event loop thread that works for it."""
        if self._process != os.getpid():
            self._folder = Folder(self._folder.uri)
            self._process = os.getpid()
        return self._folder


def _missing(folder: Folder, file: str) -> ShardMissingError:
    return ShardMissingError(f"{folder.uri}/{file}", "the index names this file, but it is not there")


def _truncated(folder: Folder, file: str, start: int, stop: int, had: int) -> ShardTruncatedError:
    problem = f"ends early: bytes {start} to {stop} should be there, {max(had, 0)} of them are"
    return ShardTruncatedError(f"{folder.uri}/{file}", problem)
