"""The model of `attributes` in a YAML file: the one that Dagster derives, with errors that name field and reason.

Dagster lets a template, which is a string, stand for any value. So whatever is wrong is reported as being no string
either, at a path that names types beside fields, and `dg check` says no more than "not valid under any of the given
schemas". Here the same values are accepted and refused, but every error is about a field.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar, cast

import dagster as dg
from pydantic import (
    AfterValidator,
    BaseModel,
    ModelWrapValidatorHandler,
    TypeAdapter,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails

ParametersT = TypeVar("ParametersT")
FieldPath = tuple[str | int, ...]
Schema = dict[str, Any]

NOTES = frozenset({"title", "description", "examples", "ui:order"})
ABOUT_ONE_TYPE = frozenset(
    {"properties", "required", "additionalProperties", "minProperties", "maxProperties"}
    | {"items", "minItems", "maxItems", "minLength", "maxLength", "pattern"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
)
"""Keywords of a JSON schema that say something of values of one type, and nothing of others."""

if TYPE_CHECKING:
    Nested = Annotated[ParametersT, "parameters of a stage"]
else:

    class Nested:
        """`Nested[Model]` or `Nested[Model | None]`: a field that holds parameters of a stage.

        Those are pydantic and know no Dagster, which wants nested models to be its own. It is told that the field is
        anything, and what its schema is.
        """

        def __class_getitem__(cls, model: Any) -> Any:
            resolver = dg.Resolver(lambda _, value: value, model_field_type=model)
            return Annotated[Any, resolver, AfterValidator(TypeAdapter(model).validate_python)]


@cache
def precise(model: type[BaseModel], component: type[BaseModel]) -> type[BaseModel]:
    """The model that Dagster derived of a component, with errors and a JSON schema that are about its fields."""
    made = cast(type[_Precise], create_model(model.__name__, __base__=(_Precise, model)))
    made.descriptions = {name: field.description or "" for name, field in component.model_fields.items()}
    return made


class _Precise(BaseModel):
    descriptions: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="wrap")
    @classmethod
    def _at_fields(cls, value: object, handler: ModelWrapValidatorHandler[_Precise]) -> _Precise:
        try:
            return handler(value)
        except ValidationError as error:
            problems = list(_problems(error.errors(), value, cls.model_json_schema()))
            raise ValidationError.from_exception_data(error.title, problems) from None

    @classmethod
    def model_json_schema(cls, *args: Any, **options: Any) -> Schema:
        """The JSON schema without alternatives, wherever one schema can say the same."""
        full = super().model_json_schema(*args, **options)
        definitions = full.pop("$defs", {})
        schema = _merged(full, definitions)
        for name, description in cls.descriptions.items():
            # Dagster drops the description of a field that has a default
            schema["properties"][name] |= {"description": description}
        return schema


def _problems(errors: Sequence[ErrorDetails], value: object, schema: Schema) -> Iterator[InitErrorDetails]:
    """The errors at their fields, without those that only say that a value is no template either."""
    located = [(_path(error, value), error) for error in errors]
    for path, error in located:
        if error["type"] == "string_type" and any(
            other[: len(path)] == path and (other != path or why["type"] != "string_type") for other, why in located
        ):
            continue
        if error["type"] == "extra_forbidden":
            why = ValueError(f"there is no such field; there are: {', '.join(_fields(schema, path[:-1]))}")
            yield {"type": "value_error", "loc": path, "input": error["input"], "ctx": {"error": why}}
        else:
            yield {"type": error["type"], "loc": path, "input": error["input"], "ctx": error.get("ctx", {})}


def _path(error: ErrorDetails, value: object) -> FieldPath:
    """The location of an error, without the names of the types that were tried."""
    path: list[str | int] = []
    for place, part in enumerate(error["loc"]):
        is_missing = error["type"] == "missing" and place == len(error["loc"]) - 1
        if isinstance(value, Mapping) and (part in value or is_missing):
            value = cast(Mapping[object, object], value).get(part)
        elif isinstance(value, Sequence) and isinstance(part, int):
            value = cast(Sequence[object], value)[part]
        else:
            continue
        path.append(part)
    return tuple(path)


def _fields(schema: Schema, path: FieldPath) -> list[str]:
    """The fields there are at a path."""
    for part in path:
        schema = schema["items"] if isinstance(part, int) else schema["properties"][part]
    return list(schema["properties"])


def _merged(node: Any, definitions: Mapping[str, Schema]) -> Any:
    """A JSON schema with references resolved and alternatives of different types made one schema."""
    if isinstance(node, list):
        return [_merged(item, definitions) for item in cast(list[Any], node)]
    if not isinstance(node, dict):
        return node
    schema = cast(Schema, node)
    if "$ref" in schema:
        others = {key: value for key, value in schema.items() if key != "$ref"}
        return _merged({**definitions[schema["$ref"].split("/")[-1]], **others}, definitions)
    schema = {key: _merged(value, definitions) for key, value in schema.items()}
    return _one_schema(schema) if "anyOf" in schema else schema


def _by_pattern(schema: Schema) -> Schema:
    """An enumeration of strings as a pattern, which says nothing of values of other types."""
    if schema.get("type") != "string" or "enum" not in schema:
        return schema
    others = {key: value for key, value in schema.items() if key != "enum"}
    return {**others, "pattern": f"^({'|'.join(map(re.escape, schema['enum']))})$"}


def _one_schema(schema: Schema) -> Schema:
    """`{"anyOf": [A, B]}` as one schema, where no two of the alternatives say something of the same type."""
    alternatives: list[Schema] = schema["anyOf"]
    if any(one.get("type") == "string" and one != {"type": "string"} for one in alternatives):
        alternatives = [one for one in alternatives if one != {"type": "string"}]
    if {"type": "null"} in alternatives:
        # An enumeration says something of values of every type, so null has to be among its values
        alternatives = [{**one, "enum": [*one["enum"], None]} if "enum" in one else one for one in alternatives]
    if len([one for one in alternatives if one != {"type": "null"}]) > 1:
        alternatives = [_by_pattern(one) for one in alternatives]
    types = [one.get("type") for one in alternatives]
    keywords = [key for one in alternatives for key in one if key not in NOTES | {"type"}]
    if not all(isinstance(name, str) for name in types) or len(set(types)) < len(types):
        return schema
    enumerated = {"enum"} if {"type": "null"} in alternatives and len(alternatives) == 2 else set[str]()
    if not (ABOUT_ONE_TYPE | enumerated).issuperset(keywords) or len(set(keywords)) < len(keywords):
        return schema
    others = {key: value for key, value in schema.items() if key != "anyOf"}
    together = {key: value for one in alternatives for key, value in one.items() if key not in NOTES}
    return {**together, **others, "type": types[0] if len(types) == 1 else types}
