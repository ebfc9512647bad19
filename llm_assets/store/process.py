"""Identifies the process that wrote something, and tells whether it is still alive.

Guarantees that a living process is never taken for dead: neither after a change of the system clock, nor by a container
with its own process numbers, nor when the number was reused. Where that cannot be known (another host, boot or
container), the answer is None, and the caller decides.
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
"""The kernel reports its boot time in whole seconds, with a jitter of one."""


@dataclass(frozen=True)
class WriterProcess:
    """A process: its place (host, boot and PID namespace), its number, and its start in seconds since boot."""

    place: str
    number: int
    began: float

    @staticmethod
    def this() -> WriterProcess:
        """The calling process."""
        return WriterProcess(_place(), os.getpid(), _began(psutil.Process()))

    def is_dead(self) -> bool | None:
        """True where the process has ended; None where that cannot be known from here."""
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
    """Start in seconds since boot: unlike `create_time` alone, not changed by setting the clock."""
    return process.create_time() - psutil.boot_time()


@cache
def _place() -> str:
    boot = _BOOT.read_text().strip() if _BOOT.exists() else ""
    namespace = str(_NAMESPACE.readlink()) if _NAMESPACE.exists() else ""
    return "/".join([socket.gethostname(), boot, namespace])
