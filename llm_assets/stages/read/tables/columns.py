"""Arrow columns as values that JSON can hold.

Guarantees one value per row for every Arrow type. What JSON cannot hold becomes text: times in ISO 8601 (UTC, with
`Z`, where they have a time zone), decimals and durations as written, NaN and infinities as `nan`, `inf`, `-inf`,
bytes as UTF-8 with `\\xNN` for what is not. A map becomes a list of `{"key": …, "value": …}`.
"""

from __future__ import annotations

from itertools import islice
from math import isfinite
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

Column = Any
"""A pyarrow.Array; its own stubs know too little."""


def json_values(column: Column, errors: str = "strict", seconds: Column | None = None) -> list[Any]:
    """The rows of a column. A string that is not UTF-8, also a nested one, raises UnicodeDecodeError; or is decoded
    the way `errors` says, as in bytes.decode.

    `seconds` is the same column, or fields of it, with timestamps in seconds: there the nanoseconds of `column` are
    right modulo 2^64 only.
    """
    kind = column.type
    if types.is_dictionary(kind):
        return json_values(column.dictionary_decode(), errors)
    if types.is_run_end_encoded(kind):
        return json_values(pc.call_function("run_end_decode", [column]), errors)
    if isinstance(kind, pa.BaseExtensionType):
        return json_values(column.storage, errors, None if seconds is None else seconds.storage)
    if types.is_struct(kind):
        return _structs(column, errors, seconds)
    if types.is_map(kind):
        return _lists(entries(column), errors, None if seconds is None else entries(seconds))
    if types.is_nested(kind) and not types.is_union(kind):
        return _lists(column, errors, seconds)
    if is_text(kind):
        return column.to_pylist() if errors == "strict" else _decoded(column.cast(pa.large_binary()), errors)
    if seconds is not None and types.is_timestamp(kind) and kind.unit == "ns":
        return _exact_times(column, seconds)
    return _plain_values(column)


def fields_of(column: Column) -> dict[str, Column]:
    """The fields of a struct column by name, null where the struct is."""
    return dict(zip((field.name for field in column.type), column.flatten(), strict=True))


def entries(column: Column) -> Column:
    """A map as a list of structs."""
    kind = column.type
    return column.cast(pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)])))


def is_text(kind: Any) -> bool:
    """Whether an Arrow type is one of the string types."""
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def is_bytes(kind: Any) -> bool:
    """Whether an Arrow type is one of the binary types."""
    tests = (types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)
    return any(test(kind) for test in tests)


def _plain_values(column: Column) -> list[Any]:
    kind = column.type
    if types.is_temporal(kind):
        return _times(column)
    if is_bytes(kind):
        return _decoded(column, "backslashreplace")
    values = cast("list[Any]", column.to_pylist())
    if types.is_floating(kind):
        return [value if value is None or isfinite(value) else str(value) for value in values]
    if types.is_integer(kind) or types.is_boolean(kind) or types.is_null(kind):
        return values
    return [None if value is None else str(value) for value in values]


def _decoded(column: Column, errors: str) -> list[Any]:
    values = cast("list[bytes | None]", column.to_pylist())
    return [None if value is None else value.decode(errors=errors) for value in values]


def _structs(column: Column, errors: str, seconds: Column | None) -> list[Any]:
    names = [field.name for field in column.type]
    twins = {} if seconds is None else fields_of(seconds)
    children = [json_values(part, errors, twins.get(name)) for name, part in zip(names, column.flatten(), strict=True)]
    rows = zip(*children, strict=True) if children else (() for _ in range(len(column)))
    valid = cast("list[bool]", column.is_valid().to_pylist())
    return [dict(zip(names, row, strict=True)) if here else None for row, here in zip(rows, valid, strict=True)]


def _lists(column: Column, errors: str, seconds: Column | None) -> list[Any]:
    flat = [None if each is None else pc.call_function("list_flatten", [each]) for each in (column, seconds)]
    items = iter(json_values(flat[0], errors, flat[1]))
    lengths = cast("list[int | None]", pc.call_function("list_value_length", [column]).to_pylist())
    return [None if length is None else list(islice(items, length)) for length in lengths]


def _times(column: Column) -> list[Any]:
    """Temporal values, in Arrow's own writing: independent of Python's range of years and of a time-zone database."""
    kind = column.type
    if types.is_interval(kind):
        return [None if value is None else str(value) for value in column.to_pylist()]
    if types.is_duration(kind):
        counts = cast("list[int | None]", column.cast(pa.int64()).to_pylist())
        return [None if count is None else f"{count} {kind.unit}" for count in counts]
    if not types.is_timestamp(kind):
        return column.cast(pa.string()).to_pylist()
    zone = "Z" if kind.tz is not None else ""
    texts = cast("list[str | None]", column.cast(pa.timestamp(kind.unit)).cast(pa.string()).to_pylist())
    return [None if text is None else _iso(text, zone) for text in texts]


_NANOSECONDS = 10**9
_WRAP = 1 << 64


def _exact_times(column: Column, seconds: Column) -> list[Any]:
    """Times of any year, from nanoseconds since 1970 modulo 2^64 and from whole seconds."""
    wrapped = cast("list[int | None]", column.view(pa.int64()).to_pylist())
    whole = cast("list[int | None]", seconds.view(pa.int64()).to_pylist())
    texts = cast("list[str | None]", seconds.cast(pa.timestamp("s")).cast(pa.string()).to_pylist())
    rows = zip(wrapped, whole, texts, strict=True)
    return [None if a is None or b is None or text is None else _exact_time(a, b, text) for a, b, text in rows]


def _exact_time(wrapped: int, seconds: int, text: str) -> str:
    fraction = (wrapped - seconds * _NANOSECONDS) % _WRAP
    in_calendar = not text.startswith("<")
    return _iso(f"{text}.{fraction:09}", "") if in_calendar else f"{seconds}.{fraction:09} s since 1970"


def _iso(text: str, zone: str) -> str:
    """Arrow's `2026-11-02 03:04:05` in ISO 8601; its remark on what lies beyond the calendar stays as it is."""
    return text if text.startswith("<") else text.replace(" ", "T", 1) + zone


def raise_unless_damage(error: Exception) -> None:
    """Raise again what says nothing about the file: want of memory, or a read that failed. Arrow reports damage as an
    OSError too, but a plain one without a number."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and (type(error) is not OSError or error.errno)):
        raise error
