"""How much memory the rows of Arrow columns take once they are values.

Guarantees that nothing is decoded to find out: an array that refers to one long string a thousand times is small, its
values are not.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from llm_assets.stages.read.tables.columns import Column, entries, is_bytes, is_text

Sizes = npt.NDArray[np.int64]
VALUE_BYTES = 32
"""Bytes of a number, a null or the frame of a string as a Python object in a list, and then as JSON."""


def row_sizes(column: Column) -> Sizes:
    """Bytes that each row of a column takes as a value, int64 [rows]."""
    kind = column.type
    if types.is_dictionary(kind):
        return _referred(column.dictionary, column.indices)
    if types.is_run_end_encoded(kind):
        places = np.arange(column.offset, column.offset + len(column))
        ends = np.asarray(column.run_ends)
        return row_sizes(column.values)[np.searchsorted(ends, places, side="right")]
    if isinstance(kind, pa.BaseExtensionType):
        return row_sizes(column.storage)
    if types.is_struct(kind):
        return sum((row_sizes(child) for child in column.flatten()), np.full(len(column), VALUE_BYTES))
    if types.is_nested(kind) and not types.is_union(kind):
        return _list_sizes(entries(column) if types.is_map(kind) else column)
    if is_text(kind) or is_bytes(kind):
        return _byte_lengths(column) + VALUE_BYTES
    return np.full(len(column), VALUE_BYTES + (column.nbytes // max(1, len(column)) if types.is_union(kind) else 0))


def _referred(values: Column, indices: Column) -> Sizes:
    sizes = np.append(row_sizes(values), VALUE_BYTES)
    places = indices.cast(pa.int64()).fill_null(len(values))
    return sizes[np.asarray(places)]


def _list_sizes(column: Column) -> Sizes:
    lengths = cast("Any", pc.call_function("list_value_length", [column])).fill_null(0)
    ends = np.cumsum(np.asarray(lengths, np.int64))
    items = np.concatenate(([0], np.cumsum(row_sizes(pc.call_function("list_flatten", [column])))))
    return np.diff(items[ends], prepend=items[0]) + VALUE_BYTES


def _byte_lengths(column: Column) -> Sizes:
    kind = column.type
    if types.is_fixed_size_binary(kind):
        return np.full(len(column), kind.byte_width)
    if types.is_string_view(kind) or types.is_binary_view(kind):
        views = np.frombuffer(column.buffers()[1], np.int32)[4 * column.offset :: 4][: len(column)]
        return np.where(column.is_valid().to_numpy(zero_copy_only=False), views, 0).astype(np.int64)
    lengths = cast("Any", pc.call_function("binary_length", [column])).fill_null(0)
    return np.asarray(lengths, np.int64)
