"""Code of a user that a stage calls: found by name, with its parameters checked, and told by name where it fails.

Guarantees that the name, the version and the parameters of a plugin are in the JSON of the parameters that use it, and
so in the code version of the stage. What plugins of a kind do is the business of the stage that calls them.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, Self, TypeVar, cast

from pydantic import ConfigDict, ModelWrapValidatorHandler, ValidationError, model_serializer, model_validator
from pydantic_core import InitErrorDetails

from llm_assets.contract.stage import Parameters
from llm_assets.errors import LlmAssetsError

KindT = TypeVar("KindT")

_NOT_THE_DATA = (OSError, MemoryError)
"""Errors that say nothing of the document that was being looked at."""


class PluginError(LlmAssetsError, ValueError):
    """A plugin that cannot be found, or not be used: says which and what to do."""


class PluginFailedError(LlmAssetsError, RuntimeError):
    """A plugin that raised an error, or gave what it must not: says which."""


def find_plugin(group: str, use: str, kind: type[KindT]) -> type[KindT]:
    """The plugin called `use`: the name of an entry point of the group, or `package.module:Class`.

    Imports the module. Raises PluginError where there is none, or where it is no complete subclass of `kind`.
    """
    entry = EntryPoint(use, use, group) if ":" in use else _entry_point(use, group)
    try:
        found: object = entry.load()
    except Exception as error:  # whatever the module raises while it is imported
        raise PluginError(f"{entry.value} cannot be imported: {type(error).__name__}: {error}") from error
    if not isinstance(found, type) or not issubclass(found, kind):
        raise PluginError(f"{entry.value} is no subclass of {kind.__module__}:{kind.__qualname__}")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(cast("frozenset[str]", getattr(found, "__abstractmethods__", frozenset()))))
        raise PluginError(f"{entry.value} lacks {missing}")
    return found


def declared_plugin(group: str, given: Mapping[str, Any], kind: type[KindT]) -> tuple[type[KindT], dict[str, Any]]:
    """The plugin that `{use: …, version: …, …}` names, and its parameters, which are all but those two.

    A `version` asks for that one. Raises PluginError as `find_plugin`, and where the plugin has another version.
    """
    values = dict(given)
    use, asked = values.pop("use", None), values.pop("version", None)
    if not isinstance(use, str):
        raise PluginError("`use` names the plugin: an entry point, or package.module:Class")
    plugin = find_plugin(group, use, kind)
    version = getattr(plugin, "version", None)
    if asked not in (None, version):
        raise PluginError(f"version {asked} is asked for, and {use} is version {version}")
    return plugin, values


def _entry_point(name: str, group: str) -> EntryPoint:
    installed = entry_points(group=group)
    found = {each.value: each for each in installed.select(name=name)}
    if not found:
        there = ", ".join(sorted(installed.names)) or "none"
        raise PluginError(
            f"no installed package has an entry point {name!r} of the group {group}; there are: {there}. "
            "Code that is not installed is named package.module:Class"
        )
    if len(found) > 1:
        raise PluginError(f"{name!r} is an entry point of {group} for each of {', '.join(sorted(found))}")
    return next(iter(found.values()))


def _schema_of_kind(schema: dict[str, Any], model: type[Any]) -> None:
    if not inspect.isabstract(model):
        return
    use = {"type": "string", "description": "Entry point, or `package.module:Class`."}
    schema["properties"] = {"use": use, "version": {"type": "string"}, **schema.get("properties", {})}
    schema["required"] = ["use", *schema.get("required", [])]
    schema["additionalProperties"] = True


class Plugin(Parameters):
    """Base of what users supply. The fields of a plugin are its parameters, checked as those of a stage are.

    A kind of plugin is an abstract subclass with the `group` of its entry points; in parameters a field of that type
    takes `{use: …, …}`: the name of a plugin, as in `find_plugin`, and its parameters. A plugin is a subclass of that
    with a `version`, to be raised whenever its results could change; a `version` beside `use` asks for that one.
    `use` and `version` are no names for fields.
    """

    model_config = ConfigDict(json_schema_extra=_schema_of_kind)

    group: ClassVar[str]
    version: ClassVar[str]

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        if inspect.isabstract(cls) or not hasattr(cls, "group"):
            return
        version = getattr(cls, "version", None)
        if not isinstance(version, str) or not version:
            raise TypeError(f'{cls.__qualname__} has no version: give it `version = "1"`')
        taken = {"use", "version"} & cls.model_fields.keys()
        if taken:
            raise TypeError(f"{cls.__qualname__}: {', '.join(sorted(taken))} is no name for a field of a plugin")

    @classmethod
    def path(cls) -> str:
        """`package.module:Class`."""
        return f"{cls.__module__}:{cls.__qualname__}"

    @model_validator(mode="wrap")
    @classmethod
    def _found(cls, given: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(given, Mapping) or not inspect.isabstract(cls):
            return handler(given)
        plugin, values = declared_plugin(cls.group, cast("Mapping[str, object]", given), cls)
        return plugin._checked(values)

    @classmethod
    def _checked(cls, values: dict[str, object]) -> Self:
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = [_at_field(problem, list(cls.model_fields)) for problem in error.errors()]
            raise ValidationError.from_exception_data(error.title, problems) from None

    @model_serializer(mode="plain")
    def _named(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {"use": self.path(), "version": self.version, **values}

    @contextmanager
    def called(self) -> Generator[None]:
        """Around a call of the plugin's own code: what that raises becomes a PluginFailedError that names it.

        OSError and MemoryError pass with a note, since they say nothing of the data.
        """
        whose = f"{self.path()}, version {self.version}"
        try:
            yield
        except _NOT_THE_DATA as error:
            error.add_note(f"raised by {whose}")
            raise
        except Exception as error:
            raise PluginFailedError(f"{whose}, failed: {type(error).__name__}: {error}") from error


def _at_field(problem: Any, fields: list[str]) -> InitErrorDetails:
    """The problem at its place; one with an unknown field tells which there are, as nothing above knows them."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        why = ValueError(f"there is no such field; there are: {', '.join(['use', 'version', *fields])}")
        kind, context = "value_error", {"error": why}
    return {"type": kind, "loc": problem["loc"], "input": problem["input"], "ctx": context}
