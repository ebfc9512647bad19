"""Bytes of the shards of a set: mapped where the operating system can, fetched by blocks elsewhere.

Guarantees that a read returns all the bytes asked for or raises an error that names the file, and that a process
compares each block with its checksum before it hands out the first byte of it. Knows nothing of what the bytes mean.
Reading through a cache on local disk: `llm_assets.loader.cache`.
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
"""Shards kept mapped. Their resident pages count as the process's memory, so not all of a large set."""
_RECORDS_KEPT = 64
_REMOTE_BYTES_KEPT = 8 << 20
"""What is kept of a remote set: a batch of small rows needs the same blocks as the one before it."""

_Identity = tuple[int, int, int, int]
"""Device, inode, size, and the time of the last change in nanoseconds: of a file that was not written since."""


class ShardFiles(Protocol):
    """Where the bytes of shards come from."""

    def read(self, shard: int, start: int, stop: int) -> NDArray[np.uint8]:
        """Bytes `start` to `stop` (exclusive) of a shard, by number, read-only and compared with their checksums.

        Raises ShardMissingError, ShardTruncatedError, ShardCorruptError.
        """
        ...


def shard_files(folder: Folder, index: ShardSetIndex) -> ShardFiles:
    """The shards of the set of a folder, read in the way that suits where it lies."""
    return MappedFiles(folder, index) if folder.is_local else RemoteFiles(folder, index)


def file_sizes(folder: Folder) -> dict[str, int]:
    """Sizes in bytes of the files directly in a folder, by name, from one listing; empty where it is not there."""
    folder.filesystem.invalidate_cache()
    try:
        entries = folder.filesystem.ls(folder.path, detail=True)
    except FileNotFoundError:
        return {}
    return {PurePosixPath(str(entry["name"])).name: int(entry["size"]) for entry in entries if entry["type"] == "file"}


class MappedFiles:
    """Shards on a local disk, each mapped when it is first read. Results are views of the mapping.

    Which blocks are known to be right is remembered for as long as the file stays the same one, mapped or not: later
    epochs come back to shards that were unmapped meanwhile.
    """

    def __init__(self, folder: Folder, index: ShardSetIndex) -> None:
        self._folder = folder
        self._index = index
        self._known: dict[int, tuple[_Identity, bytearray]] = {}
        self._mapped: dict[int, _MappedShard] = {}

    def read(self, shard: int, start: int, stop: int) -> NDArray[np.uint8]:
        """See `ShardFiles.read`."""
        mapped = self._mapped.pop(shard, None) or self._map(shard)
        self._mapped[shard] = mapped  # as the last one; two threads may map a shard twice, which does no harm
        if len(self._mapped) > _MAPS_KEPT:
            oldest, *_ = list(self._mapped)  # a copy, since another thread may change it meanwhile
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
    """A mapped file, and for each of its blocks whether it is known to be right (1) or not yet (0).

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
        # what was cut off since it was mapped would end the process (SIGBUS); the call costs 0.5 µs
        check_size(blocks.uri, self._mapping.size(), blocks.size)
        block = known.find(0, first, last)
        while block >= 0:
            low, high = blocks.block_range(block, block + 1)
            blocks.check(block, self._bytes[low:high].data)
            known[block] = 1
            block = known.find(0, block + 1, last)
        return self._bytes[start:stop]


class RemoteFiles:
    """Shards behind any fsspec filesystem, read by whole blocks."""

    def __init__(self, folder: Folder, index: ShardSetIndex) -> None:
        self._index = index
        self._start(folder)

    def _start(self, folder: Folder) -> None:
        self._folder = folder
        self._process = os.getpid()
        self._blocks = lru_cache(maxsize=_RECORDS_KEPT)(self._read_record)
        self._recent = RecentBlocks(_REMOTE_BYTES_KEPT)

    def read(self, shard: int, start: int, stop: int) -> NDArray[np.uint8]:
        """See `ShardFiles.read`."""
        if self._process != os.getpid():
            # a forked process has the filesystem object, but not the event loop thread that works for it
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
    """A descriptor of a local file."""
    try:
        return os.open(f"{folder.path}/{file}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise _missing(folder, file) from error


def _missing(folder: Folder, file: str) -> ShardMissingError:
    return ShardMissingError(f"{folder.uri}/{file}", "the index names this file, but it is not there")


def _truncated(folder: Folder, file: str, start: int, stop: int, had: int) -> ShardTruncatedError:
    problem = f"ends early: bytes {start} to {stop} should be there, {had} of them are"
    return ShardTruncatedError(f"{folder.uri}/{file}", problem)
