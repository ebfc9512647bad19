"""File locks that end with their process: a file held open and locked by `flock`.

Guarantees that the kernel releases a lock when its process ends, however it ends, and that a forked process holds
none of its parent's locks. Not for network filesystems.
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
    """An open file descriptor and its lock, if any. Closed at the latest when garbage-collected."""

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
        """Take or change the lock, waiting until a time of `time.monotonic`. Returns True if it was acquired.

        A change may release the old lock even where the new one is not acquired.
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
        """True where the name in the folder (a descriptor) refers to this very file."""
        try:
            there = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self.descriptor))

    def close(self) -> None:
        """Release the lock and close the file. Does nothing if it is closed already."""
        descriptor = self._forget()
        if descriptor >= 0:
            # closing alone is not enough: a process forked since `os.open` may still have a copy of the descriptor
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def in_child(self) -> None:
        """Close without unlocking: the parent's lock is on the same open file."""
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
