"""A lock lasts until it is let go, whoever else has the file open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llm_assets.loader.cache.leases import LockedFile


def opened(path: Path) -> LockedFile:
    return LockedFile(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC))


def test_shared_and_exclusive(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with opened(path) as first, opened(path) as second:
        assert first.lock(exclusive=False) and second.lock(exclusive=False)
        assert not first.lock(exclusive=True)
        second.close()
        assert first.lock(exclusive=True)
        with opened(path) as third:
            assert not third.lock(exclusive=False)
    with pytest.raises(ValueError, match="closed"):
        first.lock(exclusive=False)


def test_a_copy_of_the_descriptor_keeps_no_lock(tmp_path: Path) -> None:
    # as a process has it that was forked between the opening of a file and the lock on it
    path = tmp_path / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    copy = os.dup(descriptor)
    try:
        with LockedFile(descriptor) as held:
            assert held.lock(exclusive=True)
        with opened(path) as other:
            assert other.lock(exclusive=True)
    finally:
        os.close(copy)


def test_a_forked_process_lets_go_of_nothing_of_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with opened(path) as held:
        assert held.lock(exclusive=True)
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        with opened(path) as other:
            assert not other.lock(exclusive=True)
