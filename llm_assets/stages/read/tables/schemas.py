"""Finds the columns of a table that make text, id and metadata, by name or path."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pyarrow import types

from llm_assets.stages.read.records import ReadError, missing_column
from llm_assets.stages.read.selection import Selection
from llm_assets.stages.read.tables.columns import Column, fields_of, is_bytes, is_text

Path = tuple[str, ...]
"""A column, and the field of it, of that field and so on: as in `selection.find`."""


def resolved(fields: Any, name: str) -> Path | None:
    """The path that a name means among the fields of a schema or struct, or None.

    Of fields of one name, the last counts.
    """
    there = {field.name: field.type for field in fields}
    if name in there:
        return (name,)
    first, _, rest = name.partition(".")
    kind = there.get(first) if rest else None
    inner = resolved(kind, rest) if kind is not None and types.is_struct(kind) else None
    return None if inner is None else (first, *inner)


def type_at(fields: Any, path: Path) -> Any:
    """The Arrow type of what lies at a path."""
    kind = {field.name: field.type for field in fields}[path[0]]
    return type_at(kind, path[1:]) if path[1:] else kind


def column_at(column: Column | None, path: Path) -> Column | None:
    """The field of a struct column at a path inside of it; the column itself for an empty one."""
    for step in path:
        column = None if column is None else fields_of(column).get(step)
    return column


def without(column: Column | None, path: Path) -> Column | None:
    """A struct column without the field at a path inside of it; None where nothing is left."""
    if column is None or not path:
        return None
    fields = fields_of(column)
    fields[path[0]] = without(fields.get(path[0]), path[1:])
    left = {name: field for name, field in fields.items() if field is not None}
    return pa.StructArray.from_arrays(list(left.values()), list(left), mask=column.is_null()) if left else None


def chosen_columns(schema: pa.Schema, selection: Selection) -> list[str] | None:
    """Names of the columns and fields that have to be read; None for all."""
    if selection.listed is None:
        return None
    wanted = (*selection.texts, selection.parameters.id_field, *selection.listed)
    return [".".join(path) for path in (resolved(schema, name) for name in wanted) if path]


def text_problem(schema: pa.Schema, selection: Selection) -> tuple[ReadError, str] | None:
    """Why no row of a table can have a text: there is no column for it, or it is of another type."""
    paths = [(name, resolved(schema, name)) for name in selection.texts]
    found = [(name, path) for name, path in paths if path]
    if not found:
        return ReadError.MISSING_TEXT, missing_column(selection.texts, schema.names)
    for name, path in found:
        kind = type_at(schema, path)
        held = kind.value_type if types.is_dictionary(kind) else kind
        if not (is_text(held) or is_bytes(held) or types.is_null(held)):
            return ReadError.TEXT_NOT_STRING, f"column {name!r} is of type {kind}"
    return None
