"""Encodes rows as the bytes of a shard, and computes the digest of rows.

Guarantees that every shard of an encoder has the buffers at the offsets of its `layout`, with row 0 at a multiple of 64
bytes, and that any Arrow reader can open it.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
from blake3 import blake3
from numpy.typing import NDArray

from llm_assets.store.shards.index import ShardLayout

_ROW_ALIGNMENT = 64
_MOST_VALUES = (1 << 31) - 1
"""Arrow IPC requires the length of every array of a batch to fit in an int32."""


class ShardEncoder:
    """Encodes shards of up to `shard_bytes` bytes of token ids (at least one row).

    Arrow aligns buffers to 8 bytes only, so blanks in the schema's metadata move row 0 to a multiple of 64 bytes.
    """

    def __init__(self, sequence_length: int, dtype: np.dtype[Any], shard_bytes: int) -> None:
        self._ids_type = pa.list_(pa.field("item", pa.from_numpy_dtype(dtype), nullable=False), sequence_length)
        self._schema, input_ids_offset = self._aligned_schema(np.zeros((1, sequence_length), dtype))
        row_stride = sequence_length * dtype.itemsize
        rows = min(shard_bytes // row_stride, _MOST_VALUES // sequence_length)
        self.layout = ShardLayout(max(1, rows), input_ids_offset, row_stride)

    def encode(self, input_ids: NDArray[Any], counts: NDArray[np.int32], lengths: NDArray[np.int32]) -> pa.Buffer:
        """The bytes of a shard of the rows `input_ids` [n, sequence_length], C-contiguous.

        The next `counts[i]` of `lengths` are the documents of row i. Raises RuntimeError where Arrow puts the buffers
        elsewhere than `layout` says.
        """
        shard = _serialise(self._batch(self._schema, input_ids, counts, lengths))
        rows = len(counts)
        expected = (
            self.layout.input_ids_offset,
            self.layout.length_offsets_offset(rows),
            self.layout.lengths_offset(rows),
        )
        if (found := _buffer_offsets(shard)) != expected:
            raise RuntimeError(f"Arrow {pa.__version__} put the buffers of a shard at {found}, not at {expected}")
        return shard

    def _batch(
        self,
        schema: pa.Schema,
        input_ids: NDArray[Any],
        counts: NDArray[np.int32],
        lengths: NDArray[np.int32],
    ) -> pa.RecordBatch:
        ids = pa.Array.from_buffers(self._ids_type.value_type, input_ids.size, [None, pa.py_buffer(input_ids)])
        offsets = np.zeros(len(counts) + 1, np.int32)
        np.cumsum(counts, out=offsets[1:])
        columns = [
            pa.FixedSizeListArray.from_arrays(ids, type=self._ids_type),
            pa.ListArray.from_arrays(offsets, pa.array(lengths), type=_LENGTHS_TYPE),
        ]
        return pa.record_batch(columns, schema=schema)

    def _aligned_schema(self, one_row: NDArray[Any]) -> tuple[pa.Schema, int]:
        one = np.ones(1, np.int32)
        fields = [
            pa.field("input_ids", self._ids_type, nullable=False),
            pa.field("document_lengths", _LENGTHS_TYPE, nullable=False),
        ]
        for blanks in range(0, 2 * _ROW_ALIGNMENT, 4):
            schema = pa.schema(fields, metadata={"alignment": " " * blanks})
            offset = _buffer_offsets(_serialise(self._batch(schema, one_row, one, one)))[0]
            if offset % _ROW_ALIGNMENT == 0:
                return schema, offset
        raise RuntimeError(f"Arrow {pa.__version__} lets no metadata align rows to {_ROW_ALIGNMENT} bytes")


_LENGTHS_TYPE = pa.list_(pa.field("item", pa.int32(), nullable=False))


def _serialise(batch: pa.RecordBatch) -> pa.Buffer:
    measure = pa.MockOutputStream()
    with pa.ipc.new_file(measure, batch.schema) as writer:
        writer.write_batch(batch)
    shard = pa.allocate_buffer(measure.size())
    with pa.ipc.new_file(pa.FixedSizeBufferWriter(shard), batch.schema) as writer:
        writer.write_batch(batch)
    return shard


def _buffer_offsets(shard: pa.Buffer) -> tuple[int, int, int]:
    """Offsets in bytes of the token ids, and of the offsets and values of the document lengths."""
    with pa.ipc.open_file(shard) as reader:
        input_ids, lengths = reader.get_batch(0).columns
    buffers = (input_ids.buffers()[2], lengths.buffers()[1], lengths.buffers()[3])
    first, second, third = (buffer.address - shard.address for buffer in buffers)
    return first, second, third


class ContentDigest:
    """blake3 of rows in order, independent of the division into files and batches.

    It hashes the header as JSON (keys sorted, no blanks), then the 32-byte blake3 digests of all token ids
    (little-endian, with padding), of the number of documents in each row (int32) and of all document lengths (int32).
    """

    def __init__(self) -> None:
        self._parts = (blake3(), blake3(), blake3())

    def update(self, input_ids: NDArray[Any], counts: NDArray[np.int32], lengths: NDArray[np.int32]) -> None:
        """Add rows; the arrays are those of `ShardEncoder.encode`."""
        for digest, values in zip(self._parts, (input_ids, counts, lengths), strict=True):
            digest.update(np.ascontiguousarray(values).data.cast("B"))

    def hexdigest(self, **header: int | str) -> str:
        """The digest of the header and the rows added so far."""
        content = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
        return blake3(content + b"".join(part.digest() for part in self._parts)).hexdigest()
