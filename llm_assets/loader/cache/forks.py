"""Resets objects in a forked process: locks that threads of the parent held, its leases and its threads.

Guarantees that `in_child` of every registered object that is alive is called before other code of the forked process.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Inherited(Protocol):
    """An object whose state in a forked process belongs to the parent."""

    def in_child(self) -> None:
        """Reset the state. Runs in the only thread of the child; must not block."""
        ...


_INHERITED: WeakSet[Inherited] = WeakSet()


def after_fork(inherited: Inherited) -> None:
    """Call `in_child` of the object in processes forked from now on."""
    _INHERITED.add(inherited)


def _in_child() -> None:
    for inherited in list(_INHERITED):
        inherited.in_child()


os.register_at_fork(after_in_child=_in_child)
