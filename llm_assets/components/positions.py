"""Errors of declarations, told with the file and the line of the YAML that is wrong."""

from __future__ import annotations

from collections.abc import Iterable

from dagster_shared.yaml_utils.source_position import SourcePositionTree
from pydantic import ValidationError

from llm_assets.errors import LlmAssetsError


class DeclarationError(LlmAssetsError, ValueError):
    """A declaration that parses but cannot be: says which file, line and field, why, and what would do."""


def invalid(positions: SourcePositionTree | None, error: ValidationError) -> DeclarationError:
    """The error of pydantic, a line for each problem."""
    lines: list[str] = []
    for problem in error.errors():
        field = ".".join(map(str, problem["loc"]))
        why = problem["msg"].removeprefix("Value error, ")
        lines.append(f"{place(positions, problem['loc'])}: {field}: {why} (it is {problem['input']!r})")
    return DeclarationError("\n".join(lines))


def parts(field: str) -> list[str | int]:
    """`a.b.1` → its parts; places in lists are numbers, as Dagster knows their lines."""
    return [int(part) if part.isdecimal() else part for part in field.split(".")]


def place(positions: SourcePositionTree | None, field: Iterable[str | int]) -> str:
    """`…/defs.yaml:LINE` of a field, or of the nearest thing around it where it is left out."""
    if positions is None:
        return "a component that is not declared in YAML"
    position, _ = positions.lookup_closest_and_path(["attributes", *field], None)
    return str(position)
