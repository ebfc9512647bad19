"""Checksums of a shard's blocks and its size, in a record that is sealed to one shard of one set.

Guarantees that bytes which pass were written at this place of this shard of this set: a shard or record of another set,
or another shard, does not pass. `files` reads the bytes and decides when to check them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from llm_assets.store.shards.index import ShardCorruptError, ShardSetIndex, ShardTruncatedError

_HEAD = 2
"""Values of a record before the checksums: the seal, and the size of the shard."""
_VALUE = 8


@dataclass(frozen=True)
class ShardBlocks:
    """The blocks of one shard as they were written.

    `uri` names the file, `size` is its length in bytes. `blocks` (uint64 [blocks]) are xxh3_64 of each `block_bytes`
    bytes; the last block may be shorter.
    """

    uri: str
    size: int
    block_bytes: int
    blocks: NDArray[np.uint64]

    def holding(self, start: int, stop: int) -> tuple[int, int]:
        """The blocks (first, last; exclusive) that hold bytes `start` to `stop`. Raises ShardTruncatedError."""
        if not 0 <= start <= stop <= self.size:
            raise ShardTruncatedError(self.uri, f"has {self.size} bytes; {start} to {stop} were asked for")
        return start // self.block_bytes, -(-stop // self.block_bytes)

    def block_range(self, first: int, last: int) -> tuple[int, int]:
        """The bytes (start, stop) of blocks `first` to `last` (exclusive)."""
        return first * self.block_bytes, min(self.size, last * self.block_bytes)

    def check(self, first: int, data: memoryview, where: str = "") -> None:
        """Compare the bytes of whole blocks, from block `first` on, with their checksums.

        Raises ShardCorruptError, naming the file, the block, its first byte, and `where` it was read, if given.
        """
        for block, start in enumerate(range(0, len(data), self.block_bytes), first):
            if xxhash.xxh3_64_intdigest(data[start : start + self.block_bytes]) != int(self.blocks[block]):
                problem = f"block {block} (from byte {block * self.block_bytes}) does not match its checksum {where}"
                raise ShardCorruptError(self.uri, problem.rstrip())


def check_size(file: str, size: int, written: int) -> None:
    """Compare the size of a file with the written one. Raises ShardTruncatedError or, if longer, ShardCorruptError."""
    if size < written:
        raise ShardTruncatedError(file, f"has {size} bytes of {written}")
    if size > written:
        raise ShardCorruptError(file, f"has {size} bytes, {size - written} too many")


def block_checksums(data: memoryview, block_bytes: int) -> NDArray[np.uint64]:
    """xxh3_64 of each block of a shard, uint64 [blocks]."""
    starts = range(0, len(data), block_bytes)
    return np.array([xxhash.xxh3_64_intdigest(data[start : start + block_bytes]) for start in starts], np.uint64)


def record_values(block_counts: Sequence[int]) -> int:
    """Number of values in the record of each shard, given the number of blocks of each."""
    return _HEAD + max(block_counts, default=0)


def sealed_record(
    digest: str, rows_per_shard: int, shard: int, size: int, blocks: NDArray[np.uint64], values: int
) -> NDArray[Any]:
    """The record of a shard, little-endian uint64 [values]: seal, size in bytes, block checksums, then zeros.

    The seal is a checksum of the rest, seeded by the set's digest, its rows per shard and the shard's number.
    """
    record = np.zeros(values, "<u8")
    record[1] = size
    record[_HEAD : _HEAD + len(blocks)] = blocks
    record[0] = _seal(digest, rows_per_shard, shard, record[1:].tobytes())
    return record


def blocks_of(index: ShardSetIndex, uri: str, shard: int, record: bytes) -> ShardBlocks:
    """The blocks of a shard of the set at `uri`, from its record.

    Raises ShardCorruptError, naming the table of shards, where it is not the record of that shard of that set.
    """
    table = f"{uri}/{index.table_file}"
    values = np.frombuffer(record, "<u8")
    if int(values[0]) != _seal(index.digest, index.layout.rows_per_shard, shard, record[_VALUE:]):
        raise ShardCorruptError(table, f"its record of shard {shard} is not what was written for this set")
    size = int(values[1])
    count = -(-size // index.block_bytes)
    return ShardBlocks(f"{uri}/{index.shard_file(shard)}", size, index.block_bytes, values[_HEAD : _HEAD + count])


def _seal(digest: str, rows_per_shard: int, shard: int, content: bytes) -> int:
    """xxh3_64 of a record without its seal, seeded by set, rows per shard and shard number."""
    seed = xxhash.xxh3_64_intdigest(f"{digest} {rows_per_shard} {shard}".encode())
    return xxhash.xxh3_64_intdigest(content, seed)
