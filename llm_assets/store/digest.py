"""Content digests: equal for equal values, however these are divided into batches, parts and files.

Hashes logical Arrow values, so that another Parquet writer or codec does not change a digest.
"""

from __future__ import annotations

from collections.abc import Iterable

import blake3
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from llm_assets.kernels.arrow import string_buffers


class ContentHasher:
    """A running hash over the columns of batches; each column has one for values, lengths and nulls.

    Supports numbers, booleans, strings, binaries, and lists and structs of those. Raises TypeError for others.
    """

    def __init__(self) -> None:
        self._hashers: dict[str, blake3.blake3] = {}
        self._counts: dict[str, int] = {}
        self._rows = 0

    def update(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Add the rows of a batch. Every batch must have the same columns."""
        self._rows += batch.num_rows
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
            for chunk in chunks:
                self._update(name, chunk)

    def _update(self, name: str, values: pa.Array) -> None:
        self._add_nulls(name, values)
        kind = values.type
        if types.is_struct(kind):
            for place, field in enumerate(kind):
                self._update(f"{name}/{field.name}", pc.call_function("struct_field", [values], _field(place)))
        elif types.is_large_list(kind) or types.is_list(kind):
            self._add(f"{name}/length", pc.call_function("list_value_length", [values]).fill_null(0).cast(pa.int64()))
            self._update(f"{name}/item", values.flatten())
        elif types.is_large_string(kind) or types.is_large_binary(kind):
            offsets, data = string_buffers(values.fill_null(b"" if types.is_large_binary(kind) else ""))
            self._add(f"{name}/length", pa.array(np.diff(offsets)))
            self._feed(name, data[offsets[0] : offsets[-1]].data)
        elif types.is_fixed_size_binary(kind):
            self._feed(name, _fixed_bytes(values))
        elif types.is_boolean(kind):
            self._add(name, values.fill_null(False).cast(pa.uint8()))
        elif types.is_integer(kind) or types.is_floating(kind):
            self._add(name, values.fill_null(0))
        else:
            raise TypeError(f"column {name!r}: no digest is defined for values of type {kind}")

    def _add_nulls(self, name: str, values: pa.Array) -> None:
        """Hash the indices of null values: nothing for a column without nulls, instead of a byte per value."""
        before = self._counts.get(name, 0)
        self._counts[name] = before + len(values)
        if values.null_count:
            null = np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))
            self._add(f"{name}/null", pa.array(null + before))

    def _add(self, name: str, numbers: pa.Array) -> None:
        self._feed(name, np.ascontiguousarray(numbers.to_numpy(zero_copy_only=False)).data.cast("B"))

    def _feed(self, name: str, data: bytes | memoryview) -> None:
        if len(data):
            self._hashers.setdefault(name, blake3.blake3()).update(data)

    def hexdigest(self) -> str:
        """The digest so far: 128 bits in hexadecimal."""
        total = blake3.blake3(str(self._rows).encode())
        for name in sorted(self._hashers):
            total.update(f"{len(name.encode())}:{name}".encode() + self._hashers[name].digest())
        return total.hexdigest(length=16)


def content_digest(batches: Iterable[pa.RecordBatch | pa.Table]) -> str:
    """Digest of the rows of all batches in order."""
    hasher = ContentHasher()
    for batch in batches:
        hasher.update(batch)
    return hasher.hexdigest()


def combined_digest(digests: Iterable[str]) -> str:
    """A digest over several digests, in their order: 128 bits in hexadecimal."""
    return blake3.blake3("\n".join(digests).encode()).hexdigest(length=16)


def _fixed_bytes(values: pa.Array) -> bytes | memoryview:
    """The bytes of all values; zeros for a null."""
    width = values.type.byte_width
    if values.null_count:
        return b"".join(value or bytes(width) for value in values.to_pylist())
    if len(values) == 0:
        return b""
    return memoryview(values.buffers()[1])[values.offset * width : (values.offset + len(values)) * width]


def _field(place: int) -> pc.StructFieldOptions:
    return pc.StructFieldOptions([place])
