"""Code of others, found by name: an entry point of an installed package, or a dotted path `package.module:Name`.

Guarantees a class of the kind that was asked for, or an error that says what to write instead. What the class does is
the business of who asks.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

KindT = TypeVar("KindT")


class PluginError(ValueError):
    """A name under which no usable class was found."""


def find_plugin(group: str, use: str, kind: type[KindT]) -> type[KindT]:
    """The class that `use` names: an entry point of the group, or `package.module:Name`.

    Raises PluginError where there is none, it cannot be imported, or it is no subclass of `kind`.
    """
    found = _imported(use) if ":" in use else _offered(group, use)
    if not isinstance(found, type) or not issubclass(found, kind):
        raise PluginError(f"{use!r} is no subclass of {kind.__module__}.{kind.__qualname__}")
    return found


def _offered(group: str, name: str) -> object:
    offered: dict[str, EntryPoint] = {each.name: each for each in entry_points(group=group)}
    if name not in offered:
        there = ", ".join(sorted(offered)) or "none"
        raise PluginError(
            f"no installed package offers {name!r} as an entry point of {group!r} (there are: {there}); "
            "write package.module:Name for a class that can be imported"
        )
    return _imported(offered[name].value)


def _imported(path: str) -> object:
    module, _, name = path.partition(":")
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        raise PluginError(f"{path!r} cannot be imported: {error}") from error
    except AttributeError as error:
        raise PluginError(f"{module} has no {name!r}") from error
