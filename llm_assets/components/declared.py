"""What is declared in a project's YAML: found by name, and refused with file, line and remedy where it is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import dagster as dg
import yaml
from pydantic import BaseModel, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""A name that can be an asset key, a Dagster group and a folder."""


class DeclarationError(ValueError):
    """A declaration that parses but cannot be: says which file, line and field, why, and what would do."""


ComponentT = TypeVar("ComponentT", bound=dg.Component)
ModelT = TypeVar("ModelT", bound=BaseModel)


if TYPE_CHECKING:
    Nested = Annotated[ModelT, "parameters of a stage"]
else:

    class Nested:
        """`Nested[Model]`: a field that holds parameters of a stage, which are pydantic and know no Dagster.

        Dagster wants nested models to be its own. It is told that the field is anything, and what its schema is.
        """

        def __class_getitem__(cls, model: type[ModelT]) -> Any:
            resolver = dg.Resolver(lambda _, value: value, model_field_type=model | None, inject_before_resolve=False)
            return Annotated[Any, resolver]


def declared(context: dg.ComponentLoadContext, kind: type[ComponentT]) -> dict[str, ComponentT]:
    """All components of a kind in the project, by name. Raises DeclarationError where a name is there twice."""
    found: dict[str, ComponentT] = {}
    for component in context.component_tree.get_all_components(of_type=kind):
        name: str = getattr(component, "name")  # noqa: B009
        if name in found:
            refuse(context, name, "name", f"{kind.__name__} {name!r} is declared more than once")
        found[name] = component
    return found


def listed(names: Iterable[str]) -> str:
    """Names for an error message."""
    return ", ".join(sorted(names)) or "none"


def refuse(context: dg.ComponentLoadContext, component: str, field: str, why: str) -> NoReturn:
    """Raise a DeclarationError at the line of a field (`a` or `a.b`) of the component of that name."""
    place = _find(context.path, component, field.split("."))
    raise DeclarationError(f"{place}: {field}: {why}")


def _find(path: Path, component: str, field: Sequence[str]) -> str:
    """`defs.yaml:LINE` of the field, of its nearest parent where it is left out, or the path where it is no YAML."""
    file = path / "defs.yaml" if path.is_dir() else path
    if file.suffix != ".yaml" or not file.exists():
        return str(path)
    for document in yaml.compose_all(file.read_text(), Loader=yaml.SafeLoader):
        attributes = _entry(document, "attributes")
        name = _entry(attributes, "name")
        if isinstance(name, yaml.ScalarNode) and name.value == component:
            node = attributes
            for key in field:
                node = _entry(node, key) or node
            line = node.start_mark.line + 1 if node is not None else 1
            return f"{file}:{line}"
    return str(file)


def _entry(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == key:
                return value
    return None
