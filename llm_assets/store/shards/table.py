"""The table of shards: an Arrow file with a row for each shard, written with the set.

Guarantees that a table is the one that the index names, or an error. Only checks of a whole set read all of it. Reading
rows takes single records (`checks`) at offsets that the index tells, so it costs the same for any number of shards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from llm_assets.store.shards.checks import ShardBlocks, blocks_of
from llm_assets.store.shards.index import CheckLayout, Shard, ShardCorruptError, ShardSetIndex

_CHECKS = "checks"
_COLUMNS = [
    pa.field("file", pa.large_string(), nullable=False),
    pa.field("rows", pa.int64(), nullable=False),
    pa.field("documents", pa.int64(), nullable=False),
    pa.field("tokens", pa.int64(), nullable=False),
    pa.field("bytes", pa.int64(), nullable=False),
    pa.field("rows_by_source", pa.large_list(pa.int64()), nullable=False),
    pa.field("tokens_by_source", pa.large_list(pa.int64()), nullable=False),
    pa.field("checksum", pa.large_string(), nullable=False),
]


class ShardTable:
    """All shards of the set at `uri`, from the bytes of its table.

    Raises ShardCorruptError, naming the table, where they are not the bytes that were written.
    """

    def __init__(self, index: ShardSetIndex, uri: str, data: bytes) -> None:
        if xxhash.xxh3_128_hexdigest(data) != index.table_checksum:
            raise ShardCorruptError(f"{uri}/{index.table_file}", "its bytes do not match the checksum in the index")
        self._index = index
        self._uri = uri
        self._data = data
        with pa.ipc.open_file(data) as reader:
            self._columns = reader.read_all().drop_columns([_CHECKS])

    def __len__(self) -> int:
        return self._columns.num_rows

    def column(self, name: str) -> list[Any]:
        """One column: its value for each shard, in order."""
        return self._columns[name].to_pylist()

    def shards(self) -> tuple[Shard, ...]:
        """The description of every shard, in order."""
        return tuple(Shard.from_record(record) for record in self._columns.to_pylist())

    def blocks(self, shard: int) -> ShardBlocks:
        """The blocks of a shard."""
        return blocks_of(self._index, self._uri, shard, self._data[slice(*self._index.checks.record_range(shard))])


def encode_table(shards: Sequence[Shard], records: NDArray[Any]) -> tuple[bytes, CheckLayout]:
    """The bytes of the table, and the offset and stride in it of the records (`sealed_record`, [shards, values]).

    The records come first, so that their offset does not depend on the number of shards.
    """
    values = records.shape[1]
    checks = pa.FixedSizeListArray.from_arrays(pa.array(records.reshape(-1), pa.uint64()), values)
    others = pa.RecordBatch.from_pylist([asdict(shard) for shard in shards], schema=pa.schema(_COLUMNS))
    schema = pa.schema([pa.field(_CHECKS, checks.type, nullable=False), *_COLUMNS])
    batch = pa.record_batch([checks, *others.columns], schema=schema)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(batch)
    table = sink.getvalue()
    return table.to_pybytes(), CheckLayout(_offset(table) if len(shards) else 0, values * records.itemsize)


def _offset(table: pa.Buffer) -> int:
    with pa.ipc.open_file(table) as reader:
        checks = reader.get_batch(0).column(0)
    return checks.buffers()[2].address - table.address
