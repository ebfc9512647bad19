"""What is declared in a project's YAML: found by name, and refused with file, line and remedy where it is wrong."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Annotated, NoReturn, Self, TypeVar

import dagster as dg
from dagster_shared.yaml_utils.source_position import SourcePositionTree
from pydantic import BaseModel, Field, PrivateAttr, ValidationError

from llm_assets.components.attributes import precise

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""A name that can be an asset key, a Dagster group and a folder."""

TOKENIZERS = "tokenizers"
MODELS = "models"
"""First parts of the keys of all tokenizers and all models, and their groups: no names for anything else."""


class DeclarationError(ValueError):
    """A declaration that parses but cannot be: says which file, line and field, why, and what would do."""


class Declared(dg.Component, dg.Model, dg.Resolvable):
    """A component that has a name, unique among its kind, and knows where it was declared."""

    name: Name

    _positions: SourcePositionTree | None = PrivateAttr(default=None)

    @classmethod
    def model(cls) -> type[BaseModel]:
        """What the YAML may hold."""
        return precise(super().model(), cls)

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Self:
        """The component, as the YAML has it once templates are filled in. Raises DeclarationError."""
        positions = context.resolution_context.source_position_tree
        try:
            component = super().load(attributes, context)
        except ValidationError as error:
            raise _invalid(positions, error) from error
        component._positions = positions
        return component

    @abstractmethod
    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """What the component defines."""

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """What the component defines. Raises DeclarationError where that cannot be."""
        declared(context, type(self))
        try:
            return self.definitions(context)
        except dg.DagsterInvalidDefinitionError as error:
            raise DeclarationError(f"{_place(self._positions, ())}: {error}") from error

    def refuse(self, field: str | Sequence[str | int], why: str) -> NoReturn:
        """Raise a DeclarationError at the line of a field, or of what it would be in.

        `a.b.1` is the second item of the list `b` in `a`. Where a key may have a dot in it: `("a", "b", 1)`.
        """
        path = _path(field) if isinstance(field, str) else field
        raise DeclarationError(f"{_place(self._positions, path)}: {'.'.join(map(str, path))}: {why}")

    def refuse_invalid(self, error: ValidationError) -> NoReturn:
        """Raise a DeclarationError for values of fields that a stage's parameters cannot have."""
        raise _invalid(self._positions, error) from error

    def place(self) -> str:
        """File and line of the name."""
        return _place(self._positions, ["name"])


ComponentT = TypeVar("ComponentT", bound=Declared)


def declared(context: dg.ComponentLoadContext, kind: type[ComponentT]) -> dict[str, ComponentT]:
    """All components of a kind in the project, by name. Raises DeclarationError where a name cannot be."""
    found: dict[str, ComponentT] = {}
    for component in context.component_tree.get_all_components(of_type=kind):
        name = component.name
        if name in found:
            component.refuse("name", f"another {kind.__name__} is called {name!r}, declared in {found[name].place()}")
        if name in (TOKENIZERS, MODELS):
            component.refuse("name", f"{name!r} is where all {name} are; another name will do")
        found[name] = component
    return found


def listed(names: Iterable[str]) -> str:
    """Names for an error message."""
    return ", ".join(sorted(names)) or "none"


def _invalid(positions: SourcePositionTree | None, error: ValidationError) -> DeclarationError:
    """A line for each problem."""
    lines: list[str] = []
    for problem in error.errors():
        field = ".".join(map(str, problem["loc"]))
        why = problem["msg"].removeprefix("Value error, ")
        lines.append(f"{_place(positions, problem['loc'])}: {field}: {why} (it is {problem['input']!r})")
    return DeclarationError("\n".join(lines))


def _path(field: str) -> list[str | int]:
    """The parts of a field; places in lists are numbers, as Dagster knows their lines."""
    return [int(part) if part.isdecimal() else part for part in field.split(".")]


def _place(positions: SourcePositionTree | None, field: Iterable[str | int]) -> str:
    """`…/defs.yaml:LINE` of a field, or of the nearest thing around it where it is left out."""
    if positions is None:
        return "a component that is not declared in YAML"
    position, _ = positions.lookup_closest_and_path(["attributes", *field], None)
    return str(position)
