"""Locks that die with their process: a file that is held open and locked (`flock`).

Guarantees that the kernel lets go of a lock when its process ends, however it ends, and that a forked process holds
none of its parent's. What is locked, and why, is not known here. Not for network filesystems.
"""

from __future__ import annotations

import fcntl
import os
import time
from types import TracebackType
from typing import Self

from llm_assets.loader.cache.forks import after_fork

_FIRST_PAUSE, _LONGEST_PAUSE = 0.0005, 0.01


class LockedFile:
    """An open file descriptor and the lock on it, if any. Closes when it is forgotten."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        after_fork(self)

    @property
    def descriptor(self) -> int:
        """The file descriptor. Raises ValueError once closed."""
        if self._descriptor < 0:
            raise ValueError("the file is closed")
        return self._descriptor

    def lock(self, *, exclusive: bool, until: float = 0.0) -> bool:
        """Take or change the lock; wait for it until this time (`time.monotonic`). Whether it was had.

        A change of lock may give up the old one even where the new one is not had.
        """
        operation = (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB
        pause = _FIRST_PAUSE
        while True:
            try:
                fcntl.flock(self.descriptor, operation)
                return True
            except BlockingIOError:
                if time.monotonic() >= until:
                    return False
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def is_at(self, name: str, folder: int) -> bool:
        """Whether the name in the folder (a descriptor) is that of this very file."""
        try:
            there = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self.descriptor))

    def close(self) -> None:
        """Let go. Quiet where it is done already."""
        descriptor = self._forget()
        if descriptor >= 0:
            # not by closing alone: a process forked between `os.open` and here may have a copy nobody knows of
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def in_child(self) -> None:
        """Close, never unlock: the parent's lock is on the same open file."""
        descriptor = self._forget()
        if descriptor >= 0:
            os.close(descriptor)

    def _forget(self) -> int:
        descriptor, self._descriptor = self._descriptor, -1
        return descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()
