"""What a forked process must not keep of its parent: locks that threads of the parent hold.

Guarantees that `in_child` of every object registered here, and still alive, is called first thing in a forked process.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Inherited(Protocol):
    """Something that a forked process has, but that belongs to its parent."""

    def in_child(self) -> None:
        """Put right what the fork left wrong. Runs in the only thread of the process; must not block."""
        ...


_INHERITED: WeakSet[Inherited] = WeakSet()


def after_fork(inherited: Inherited) -> None:
    """Have `in_child` called in processes forked from now on."""
    _INHERITED.add(inherited)


def _in_child() -> None:
    for inherited in list(_INHERITED):
        inherited.in_child()


os.register_at_fork(after_in_child=_in_child)
