"""Content digests: the same for the same values, however they are cut into batches, parts and files.

Hashes logical Arrow values, so that another Parquet writer or codec does not make unchanged data look new.
"""

from __future__ import annotations

from collections.abc import Iterable

import blake3
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from llm_assets.store.arrow import string_buffers


class ContentHasher:
    """A hash over columns of values, fed batch by batch: one running hash per column and kind of content."""

    def __init__(self) -> None:
        self._hashers: dict[str, blake3.blake3] = {}
        self._rows = 0

    def update(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Add the rows of a batch. Every batch must have the same columns."""
        self._rows += batch.num_rows
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
            for chunk in chunks:
                self._update(name, chunk)

    def _update(self, name: str, values: pa.Array) -> None:
        self._feed(f"{name}/valid", values.is_valid().cast(pa.uint8()))
        if pa.types.is_large_list(values.type) or pa.types.is_list(values.type):
            self._feed(f"{name}/length", pc.call_function("list_value_length", [values]).fill_null(0))
            self._update(f"{name}/item", values.flatten())
        elif pa.types.is_large_string(values.type) or pa.types.is_large_binary(values.type):
            offsets, data = string_buffers(values)
            self._feed(f"{name}/length", pa.array(np.diff(offsets)))
            self._hasher(f"{name}/bytes").update(data[offsets[0] : offsets[-1]].data)
        elif pa.types.is_fixed_size_binary(values.type):
            self._hasher(name).update(
                b"".join(v or b"" for v in values.to_pylist()) if values.null_count else _fixed_bytes(values)
            )
        elif pa.types.is_boolean(values.type):
            self._feed(name, values.fill_null(False).cast(pa.uint8()))
        else:
            self._feed(name, values.fill_null(0) if values.null_count else values)

    def _feed(self, name: str, numbers: pa.Array) -> None:
        self._hasher(name).update(np.ascontiguousarray(numbers.to_numpy(zero_copy_only=False)).data.cast("B"))

    def _hasher(self, name: str) -> blake3.blake3:
        return self._hashers.setdefault(name, blake3.blake3())

    def hexdigest(self) -> str:
        """The digest so far: 128 bits in hexadecimal."""
        total = blake3.blake3(str(self._rows).encode())
        for name in sorted(self._hashers):
            total.update(name.encode() + b"\0" + self._hashers[name].digest())
        return total.hexdigest(length=16)


def content_digest(batches: Iterable[pa.RecordBatch | pa.Table]) -> str:
    """Digest of the rows of all batches in order."""
    hasher = ContentHasher()
    for batch in batches:
        hasher.update(batch)
    return hasher.hexdigest()


def combined_digest(digests: Iterable[str]) -> str:
    """One digest over several, in their order."""
    return blake3.blake3("\n".join(digests).encode()).hexdigest(length=16)


def _fixed_bytes(values: pa.Array) -> memoryview:
    width = values.type.byte_width
    return memoryview(values.buffers()[1])[values.offset * width : (values.offset + len(values)) * width]
