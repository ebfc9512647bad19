"""Arrow columns with a meaning, and numpy views of Arrow memory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def column(name: str, kind: pa.DataType, meaning: str, *, nullable: bool = True) -> pa.Field:
    """A column that says what it is, in the place where Delta tables keep it: Spark and the UI show it."""
    return pa.field(name, kind, nullable=nullable, metadata={"comment": meaning})


def meaning(field: pa.Field) -> str | None:
    """The meaning of a column; None where it has none."""
    comment = (field.metadata or {}).get(b"comment")
    return None if comment is None else comment.decode()


def string_buffers(values: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Offsets int64 [rows + 1] and bytes uint8 of a `large_string` or `large_binary` array, not copied.

    Offsets index the bytes and need not start at 0 (a sliced array). A null has length 0.
    """
    if len(values) == 0:
        return np.zeros(1, np.int64), np.empty(0, np.uint8)
    _, offsets, data = values.buffers()
    bounds = np.frombuffer(offsets, np.int64)[values.offset : values.offset + len(values) + 1]
    return bounds, np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)


def byte_lengths(values: pa.Array) -> npt.NDArray[np.int64]:
    """UTF-8 length in bytes of every value, int64 [rows]."""
    return np.diff(string_buffers(values)[0])
