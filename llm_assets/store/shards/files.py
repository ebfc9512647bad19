"""Reads the bytes of a set's shards: memory-mapped on a local disk, fetched by blocks elsewhere.

Guarantees that a read returns all bytes asked for or raises an error that names the file, and that a process compares
each block with its checksum before it returns any byte of it. For a cache on local disk see `llm_assets.loader.cache`.
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
from llm_assets.store.recent_blocks import RecentBlocks
from llm_assets.store.shards.checks import ShardBlocks, blocks_of, check_size
from llm_assets.store.shards.index import ShardMissingError, ShardSetIndex, ShardTruncatedError

_MAPS_KEPT = 16
"""Shards kept mapped. Not all of a large set, since their resident pages count as the process's memory."""
_RECORDS_KEPT = 64
_REMOTE_BYTES_KEPT = 8 << 20
"""Bytes of blocks kept of a remote set: consecutive small batches need the same block."""

_Identity = tuple[int, int, int, int]
"""Device, inode, size in bytes, and time of the last change in nanoseconds: equal for an unchanged file."""


class ShardFiles(Protocol):
    """A source of the bytes of shards."""

    def read(self, shard: int, start: int, stop: int) -> NDArray[np.uint8]:
        """Bytes `start` to `stop` (exclusive) of a shard, by number, read-only and compared with their checksums.

        Raises ShardMissingError, ShardTruncatedError, ShardCorruptError.
        """
        ...


def shard_files(folder: Folder, index: ShardSetIndex) -> ShardFiles:
    """Reader for the shards of the set in a folder: mapped where it is local, remote elsewhere."""
    return MappedFiles(folder, index) if folder.is_local else RemoteFiles(folder, index)


def file_sizes(folder: Folder) -> dict[str, int]:
    """Sizes in bytes of the files directly in a folder, by name, from one listing; empty where it does not exist."""
    folder.filesystem.invalidate_cache()
    try:
        entries = folder.filesystem.ls(folder.path, detail=True)
    except FileNotFoundError:
        return {}
    return {PurePosixPath(str(entry["name"])).name: int(entry["size"]) for entry in entries if entry["type"] == "file"}


class MappedFiles:
    """Shards on a local disk, each mapped at its first read. Results are views of the mapping.

    Checked blocks are remembered while the file is unchanged, also when it is unmapped meanwhile, so that later epochs
    do not check them again.
    """

    def __init__(self, folder: Folder, index: ShardSetIndex) -> None:
        self._folder = folder
        self._index = index
        self._known: dict[int, tuple[_Identity, bytearray]] = {}
        self._mapped: dict[int, _MappedShard] = {}

    def read(self, shard: int, start: int, stop: int) -> NDArray[np.uint8]:
        """Bytes `start` to `stop` of a shard: see `ShardFiles.read`."""
        mapped = self._mapped.pop(shard, None) or self._map(shard)
        self._mapped[shard] = mapped  # moved to the end; two threads may map a shard twice, which does no harm
        if len(self._mapped) > _MAPS_KEPT:
            oldest, *_ = list(self._mapped)  # a copy, since another thread may change the dict
            self._mapped.pop(oldest, None)
        return mapped.read(start, stop)

    def _map(self, shard: int) -> _MappedShard:
        blocks = blocks_of(self._index, self._folder.uri, shard, self._record(shard))
        descriptor = _opened(self._folder, self._index.shard_file(shard))
        try:
            found = os.fstat(descriptor)
            check_size(blocks.uri, found.st_size, blocks.size)
            mapping = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)
        identity = found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns
        before, known = self._known.get(shard, (None, bytearray()))
        if before != identity:
            known = bytearray(len(blocks.blocks))
            self._known[shard] = identity, known
        return _MappedShard(mapping, blocks, known)

    def _record(self, shard: int) -> bytes:
        start, stop = self._index.checks.record_range(shard)
        descriptor = _opened(self._folder, self._index.table_file)
        try:
            record = os.pread(descriptor, stop - start, start)
        finally:
            os.close(descriptor)
        if len(record) != stop - start:
            raise _truncated(self._folder, self._index.table_file, start, stop, len(record))
        return record


class _MappedShard:
    """A mapped file, and a byte for each block: 1 where it was checked, else 0.

    Threads may check a block twice, which does no harm.
    """

    def __init__(self, mapping: mmap.mmap, blocks: ShardBlocks, known: bytearray) -> None:
        self._mapping = mapping
        self._bytes = np.frombuffer(mapping, np.uint8)
        self._blocks = blocks
        self._known = known

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        blocks, known = self._blocks, self._known
        first, last = blocks.holding(start, stop)
        # reading past the end of a file truncated since would end the process (SIGBUS); the call costs 0.5 µs
        check_size(blocks.uri, self._mapping.size(), blocks.size)
        block = known.find(0, first, last)
        while block >= 0:
            low, high = blocks.block_range(block, block + 1)
            blocks.check(block, self._bytes[low:high].data)
            known[block] = 1
            block = known.find(0, block + 1, last)
        return self._bytes[start:stop]


class RemoteFiles:
    """Shards on any fsspec filesystem, read by whole blocks."""

    def __init__(self, folder: Folder, index: ShardSetIndex) -> None:
        self._index = index
        self._start(folder)

    def _start(self, folder: Folder) -> None:
        self._folder = folder
        self._process = os.getpid()
        self._blocks = lru_cache(maxsize=_RECORDS_KEPT)(self._read_record)
        self._recent = RecentBlocks(_REMOTE_BYTES_KEPT)

    def read(self, shard: int, start: int, stop: int) -> NDArray[np.uint8]:
        """Bytes `start` to `stop` of a shard: see `ShardFiles.read`."""
        if self._process != os.getpid():
            # a forked process has the filesystem object, but not its event loop thread
            self._start(Folder(self._folder.uri))
        blocks = self._blocks(shard)

        def fetch(first: int, last: int, out: NDArray[np.uint8]) -> None:
            data = self._fetch(self._index.shard_file(shard), *blocks.block_range(first, last))
            blocks.check(first, memoryview(data))
            out[:] = np.frombuffer(data, np.uint8)

        return self._recent.read(shard, blocks, start, stop, fetch)

    def _read_record(self, shard: int) -> ShardBlocks:
        record = self._fetch(self._index.table_file, *self._index.checks.record_range(shard))
        return blocks_of(self._index, self._folder.uri, shard, record)

    def _fetch(self, file: str, start: int, stop: int) -> bytes:
        try:
            data: bytes = self._folder.filesystem.cat_file(f"{self._folder.path}/{file}", start=start, end=stop)
        except FileNotFoundError as error:
            raise _missing(self._folder, file) from error
        if len(data) != stop - start:
            raise _truncated(self._folder, file, start, stop, len(data))
        return data


def _opened(folder: Folder, file: str) -> int:
    """Open a local file. Raises ShardMissingError."""
    try:
        return os.open(f"{folder.path}/{file}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise _missing(folder, file) from error


def _missing(folder: Folder, file: str) -> ShardMissingError:
    return ShardMissingError(
        f"{folder.uri}/{file}", "the index names this file, but it does not exist: restore it, or write the set again"
    )


def _truncated(folder: Folder, file: str, start: int, stop: int, had: int) -> ShardTruncatedError:
    problem = f"ends early: bytes {start} to {stop} should be there, {had} of them are"
    return ShardTruncatedError(f"{folder.uri}/{file}", problem)
