"""The shards of a set by number, with their block checksums and the key of each in the cache."""

from __future__ import annotations

from dataclasses import dataclass

from llm_assets.store.shards.checks import ShardBlocks
from llm_assets.store.shards.shard_set import ShardSetIndex
from llm_assets.store.shards.table import ShardTable


@dataclass(frozen=True)
class ExpectedShard(ShardBlocks):
    """A shard as it was written. `key` is its checksum, and its name in a cache."""

    number: int
    file: str
    key: str


class ExpectedShards:
    """The table of shards of a set. Raises ShardCorruptError where it is not the one that the index names."""

    def __init__(self, uri: str, index: ShardSetIndex, data: bytes) -> None:
        self._index = index
        self._table = ShardTable(index, uri, data)
        self._keys = self._table.column("checksum")
        self.largest = max(self._table.column("bytes"), default=0)
        """Size of the largest shard in bytes; 0 without shards."""

    def __len__(self) -> int:
        return len(self._table)

    def shard(self, number: int) -> ExpectedShard:
        """The shard of that number."""
        blocks, file = self._table.blocks(number), self._index.shard_file(number)
        return ExpectedShard(
            blocks.uri, blocks.size, blocks.block_bytes, blocks.blocks, number, file, self._keys[number]
        )
