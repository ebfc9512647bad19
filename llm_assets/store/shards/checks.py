"""What the bytes of a shard must be: its size and a checksum of each block, sealed to the set that they belong to.

Guarantees that bytes which pass are those that were written at that place of that shard of that set: a shard or a
record from elsewhere does not pass. Where bytes are read, and when they are checked, is not known here.
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
"""Values of a record before the checksums: the seal and the size of the shard."""
_VALUE = 8


@dataclass(frozen=True)
class ShardBlocks:
    """The blocks of one shard as they were written.

    `uri` is that of the file, `size` its bytes. `blocks` (uint64) are xxh3_64 of each `block_bytes` bytes, the last
    ones fewer.
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
        """See that these are the bytes of whole blocks from block `first` on.

        Raises ShardCorruptError, naming the file, the block, its first byte, and `where` it was read if that is said.
        """
        for block, start in enumerate(range(0, len(data), self.block_bytes), first):
            if xxhash.xxh3_64_intdigest(data[start : start + self.block_bytes]) != int(self.blocks[block]):
                problem = f"block {block} (from byte {block * self.block_bytes}) does not match its checksum {where}"
                raise ShardCorruptError(self.uri, problem.rstrip())


def check_size(file: str, size: int, written: int) -> None:
    """See that a file is as long as it was written. Raises ShardTruncatedError, ShardCorruptError."""
    if size < written:
        raise ShardTruncatedError(file, f"has {size} bytes of {written}")
    if size > written:
        raise ShardCorruptError(file, f"has {size} bytes, {size - written} too many")


def block_checksums(data: memoryview, block_bytes: int) -> NDArray[np.uint64]:
    """xxh3_64 of each block of a shard."""
    starts = range(0, len(data), block_bytes)
    return np.array([xxhash.xxh3_64_intdigest(data[start : start + block_bytes]) for start in starts], np.uint64)


def record_values(block_counts: Sequence[int]) -> int:
    """Values in the record of each shard of a set whose shards have so many blocks."""
    return _HEAD + max(block_counts, default=0)


def sealed_record(
    digest: str, rows_per_shard: int, shard: int, size: int, blocks: NDArray[np.uint64], values: int
) -> NDArray[Any]:
    """What a set of that digest, in shards of so many rows, says of a shard: uint64 [values], little-endian.

    A seal over what follows it, the size of the shard, the checksums of its blocks, and zeros.
    """
    record = np.zeros(values, "<u8")
    record[1] = size
    record[_HEAD : _HEAD + len(blocks)] = blocks
    record[0] = _seal(digest, rows_per_shard, shard, record[1:].tobytes())
    return record


def blocks_of(index: ShardSetIndex, uri: str, shard: int, record: bytes) -> ShardBlocks:
    """What the record of a shard says, in the set at `uri`.

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
    """xxh3_64 of a record without its seal, seeded by what it is the record of."""
    seed = xxhash.xxh3_64_intdigest(f"{digest} {rows_per_shard} {shard}".encode())
    return xxhash.xxh3_64_intdigest(content, seed)
