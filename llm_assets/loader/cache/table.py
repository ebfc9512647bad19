"""The table of shards, for the reader that checks every block: what each shard must be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from llm_assets.store.shards import ShardCorruptError, ShardMissingError, ShardSetIndex, shard_table

_SHARD = re.compile(r"shard-(\d+)\.arrow")


@dataclass(frozen=True)
class ExpectedShard:
    """A shard as it was written. `key` is its checksum and its name in a cache; `blocks` are those of its blocks."""

    number: int
    file: str
    uri: str
    key: str
    size: int
    block_bytes: int
    blocks: NDArray[np.uint64]

    def block_range(self, first: int, last: int) -> tuple[int, int]:
        """The bytes (start, stop) of blocks `first` to `last` (exclusive)."""
        return first * self.block_bytes, min(self.size, last * self.block_bytes)

    def check(self, first: int, data: memoryview, where: str) -> None:
        """See that these are the bytes of whole blocks from block `first` on.

        Raises ShardCorruptError, naming the file and saying `where` they were read.
        """
        for block, start in enumerate(range(0, len(data), self.block_bytes), first):
            if xxhash.xxh3_64_intdigest(data[start : start + self.block_bytes]) != int(self.blocks[block]):
                problem = f"block {block} (from byte {block * self.block_bytes}) does not match its checksum {where}"
                raise ShardCorruptError(self.uri, problem)


class ExpectedShards:
    """The shards of a set. Raises ShardCorruptError where the table is not the one the index names."""

    def __init__(self, uri: str, index: ShardSetIndex, data: bytes) -> None:
        table = shard_table(index, data, f"{uri}/{index.table_file}").combine_chunks()
        self._uri = uri
        self._index = index
        self._sizes = cast("NDArray[Any]", table["bytes"].to_numpy())
        self._keys = table["checksum"]
        self._blocks = table["block_checksums"]

    @property
    def largest(self) -> int:
        """Size of the largest shard in bytes; 0 without shards."""
        return int(self._sizes.max(initial=0))

    def __len__(self) -> int:
        return len(self._sizes)

    def number(self, file: str) -> int:
        """The number of the shard of that name. Raises ShardMissingError for any other file."""
        found = _SHARD.fullmatch(file.rpartition("/")[2])
        number = int(found[1]) if found else -1
        if not 0 <= number < len(self) or self._index.shard_file(number) != file:
            raise ShardMissingError(f"{self._uri}/{file}", "is not a shard of this set")
        return number

    def shard(self, number: int) -> ExpectedShard:
        """The shard of that number."""
        file = self._index.shard_file(number)
        blocks = cast(pa.LargeListScalar, self._blocks[number]).values
        return ExpectedShard(
            number,
            file,
            f"{self._uri}/{file}",
            str(self._keys[number].as_py()),
            int(self._sizes[number]),
            self._index.block_bytes,
            np.asarray(blocks.to_numpy(zero_copy_only=False), np.uint64),
        )
