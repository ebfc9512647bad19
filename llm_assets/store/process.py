"""Which process wrote something, and whether it still lives.

Guarantees that a living process is never taken for a dead one: not after a step of the system clock, not by a
container that sees other process numbers, not when the number has gone to another process. Where it cannot be
asked (another host, another boot, another container), that is the answer, and what then is decided elsewhere.
"""

from __future__ import annotations

import os
import socket
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")
_TOLERANCE_SECONDS = 2.0
"""The kernel tells its boot time in whole seconds, which jitter by one."""


@dataclass(frozen=True)
class WriterProcess:
    """A process: the place where its number means something, the number, and when it began, in seconds since boot."""

    place: str
    number: int
    began: float

    @staticmethod
    def this() -> WriterProcess:
        """The process that calls."""
        return WriterProcess(_place(), os.getpid(), _began(psutil.Process()))

    def is_dead(self) -> bool | None:
        """Whether the process is gone; None where that cannot be known from here."""
        if self.place != _place():
            return None
        try:
            process = psutil.Process(self.number)
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
            return abs(_began(process) - self.began) > _TOLERANCE_SECONDS
        except psutil.NoSuchProcess:
            return True

    def as_dict(self) -> dict[str, Any]:
        """A JSON form; `from_dict` reads it back."""
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> WriterProcess:
        """The process that `as_dict` wrote."""
        return WriterProcess(**data)


def _began(process: psutil.Process) -> float:
    """Since boot, unlike `create_time` alone, does not change when the clock is set."""
    return process.create_time() - psutil.boot_time()


@cache
def _place() -> str:
    boot = _BOOT.read_text().strip() if _BOOT.exists() else ""
    namespace = str(_NAMESPACE.readlink()) if _NAMESPACE.exists() else ""
    return "/".join([socket.gethostname(), boot, namespace])
