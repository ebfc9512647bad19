"""The folder of a cache: what it refuses, what it deletes, what it never touches, and who may have it at once."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llm_assets.loader.cache.counters import CacheCounters
from llm_assets.loader.cache.errors import CacheFolderError, NotACacheError
from llm_assets.loader.cache.folder import MARKER, CacheFolder, Lease, Reservation, ReservationFailure

FORK = multiprocessing.get_context("fork")
SIZE = 1000


def key(number: int) -> str:
    return f"{number:032x}"


def opened(path: Path, shards: int = 3) -> CacheFolder:
    return CacheFolder(path, shards * SIZE, CacheCounters())


def soon() -> float:
    return time.monotonic() + 0.05


def put(folder: CacheFolder, number: int) -> Lease | ReservationFailure:
    reservation = folder.reserve(key(number), SIZE, soon())
    if isinstance(reservation, ReservationFailure):
        return reservation
    reservation.write(0, memoryview(bytes([number]) * SIZE))
    lease = folder.publish(reservation, time.monotonic() + 5)
    assert lease is not None
    return lease


def stored(path: Path) -> set[str]:
    return {file.name for file in path.iterdir()} - {MARKER}


def in_a_process(work: Callable[[], Any]) -> Any:
    """Starts a forked process that works, says so, and then waits to be ended."""
    here, there = FORK.Pipe()

    def run() -> None:
        kept = work()
        there.send(None if kept is None else True)
        time.sleep(60)

    process = FORK.Process(target=run, daemon=True)
    process.start()
    assert here.poll(20), "the process does not answer"
    return process, here.recv()


def kill(process: Any) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def test_it_refuses_a_folder_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(NotACacheError, match=r"thesis\.tex"):
        opened(tmp_path)
    assert stored(tmp_path) == {"thesis.tex"}
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheFolderError, match="cannot be the folder"):
        opened(tmp_path / "file")


def test_it_takes_an_empty_folder_and_one_that_is_not_there(tmp_path: Path) -> None:
    opened(tmp_path / "a" / "b")
    opened(tmp_path / "a" / "b")
    assert [file.name for file in (tmp_path / "a" / "b").iterdir()] == [MARKER]


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    for number in range(3):
        put(folder, number).close()
        os.utime(tmp_path / f"{key(number)}.shard", (number, number))
    used = folder.lease(key(0), SIZE, soon())
    assert used is not None
    used.close()
    put(folder, 3).close()
    assert stored(tmp_path) == {f"{key(number)}.shard" for number in (0, 2, 3)}


def test_nothing_in_use_goes_and_nothing_goes_in_vain(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    leases = [put(folder, number) for number in range(2)]
    put(folder, 2).close()
    assert folder.reserve(key(9), 2 * SIZE, soon()) is ReservationFailure.NO_ROOM
    assert len(stored(tmp_path)) == 3
    third = put(folder, 3)
    assert stored(tmp_path) == {f"{key(number)}.shard" for number in (0, 1, 3)}
    assert put(folder, 4) is ReservationFailure.NO_ROOM
    for lease in (*leases, third):
        assert isinstance(lease, Lease)
        lease.close()
    assert isinstance(put(folder, 4), Lease)


def test_no_room_is_made_for_what_is_there(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    for number in range(3):
        lease = put(folder, number)
        assert isinstance(lease, Lease)
        lease.close()
    assert folder.reserve(key(2), SIZE, soon()) is ReservationFailure.BUSY
    assert stored(tmp_path) == {f"{key(number)}.shard" for number in range(3)}


def test_foreign_files_and_links_are_left_alone(tmp_path: Path) -> None:
    cache, outside = tmp_path / "cache", tmp_path / "outside"
    folder = opened(cache)
    outside.write_bytes(b"x" * SIZE)
    (cache / "notes.txt").write_text("mine")
    (cache / f"{key(7)}.shard").symlink_to(outside)
    (cache / f"{key(8)}.part").symlink_to(outside)
    (cache / f"{key(9)}.part").mkdir()
    with pytest.raises(CacheFolderError):
        folder.lease(key(7), SIZE, soon())
    with pytest.raises(CacheFolderError):
        folder.reserve(key(8), SIZE, soon())
    for number in range(6):
        put(folder, number).close()
    opened(cache)
    assert {"notes.txt", f"{key(7)}.shard", f"{key(8)}.part", f"{key(9)}.part"} < stored(cache)
    assert outside.read_bytes() == b"x" * SIZE


def test_a_lease_ends_with_its_process(tmp_path: Path) -> None:
    folder = opened(tmp_path, 1)
    put(folder, 0).close()
    process, kept = in_a_process(lambda: opened(tmp_path, 1).lease(key(0), SIZE, soon()))
    assert kept
    assert put(folder, 1) is ReservationFailure.NO_ROOM
    kill(process)
    assert isinstance(put(folder, 1), Lease)


def test_a_place_is_had_once_and_ends_with_its_process(tmp_path: Path) -> None:
    folder = opened(tmp_path, 1)
    process, _ = in_a_process(lambda: opened(tmp_path, 1).reserve(key(0), SIZE, soon()))
    assert folder.reserve(key(0), SIZE, soon()) is ReservationFailure.BUSY
    assert folder.reserve(key(1), SIZE, soon()) is ReservationFailure.NO_ROOM
    kill(process)
    assert stored(tmp_path) == {f"{key(0)}.part"}
    reservation = folder.reserve(key(1), SIZE, soon())
    assert isinstance(reservation, Reservation)
    assert stored(tmp_path) == {f"{key(1)}.part"}


def test_a_forked_process_holds_nothing_of_its_parent(tmp_path: Path) -> None:
    folder = opened(tmp_path, 1)
    lease = put(folder, 0)
    process, _ = in_a_process(lambda: None)
    lease.close()
    assert isinstance(put(folder, 1), Lease)
    kill(process)


def test_a_file_of_another_size_is_moved_aside(tmp_path: Path) -> None:
    counters = CacheCounters()
    folder = CacheFolder(tmp_path, 10 * SIZE, counters)
    for number in range(6):
        put(folder, number).close()
        os.truncate(tmp_path / f"{key(number)}.shard", 10)
        assert folder.lease(key(number), SIZE, soon()) is None
    assert counters.quarantined == 6
    assert len(stored(tmp_path)) == 4 and all(name.endswith(".bad") for name in stored(tmp_path))


def test_damaged_files_are_the_first_to_go(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    for number in range(3):
        lease = put(folder, number)
        assert isinstance(lease, Lease)
        if number == 2:
            folder.quarantine(lease, soon())
        lease.close()
    put(folder, 3).close()
    assert stored(tmp_path) == {f"{key(number)}.shard" for number in (0, 1, 3)}


def test_a_write_after_the_end_goes_nowhere(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    reservation = folder.reserve(key(0), SIZE, soon())
    assert isinstance(reservation, Reservation)
    folder.give_up(reservation)
    with pytest.raises(ValueError, match="closed"):
        reservation.write(0, memoryview(b"late"))
    assert stored(tmp_path) == set()


def test_a_folder_that_was_emptied_is_used_again(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    put(folder, 0).close()
    for file in tmp_path.iterdir():
        file.unlink()
    put(folder, 1).close()
    assert (tmp_path / MARKER).exists() and stored(tmp_path) == {f"{key(1)}.shard"}


def test_files_are_for_whom_the_folder_is_for(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    before = os.umask(0o077)
    try:
        put(opened(tmp_path), 0).close()
    finally:
        os.umask(before)
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o660}


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    folder = opened(tmp_path / "cache")
    shutil.rmtree(tmp_path / "cache")
    assert folder.lease(key(0), SIZE, soon()) is None
    with pytest.raises(CacheFolderError, match="has gone"):
        put(folder, 0)
    assert not (tmp_path / "cache").exists()


def _as_another_user(path: Path, told: Any) -> None:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    outcome = []
    try:
        folder = opened(path)
        lease = folder.lease(key(0), SIZE, soon())
        outcome.append(lease is not None)
        lease = None
        outcome += [isinstance(put(folder, number), Lease) for number in (3, 4, 5, 6)]
    except CacheFolderError as error:
        outcome.append(str(error))
    told.send((outcome, sorted(stored(path))))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o755])
def test_users_share_a_cache(mode: int) -> None:
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)
        path = Path(parent) / "cache"
        path.mkdir()
        path.chmod(mode)
        folder = opened(path)
        for number in range(3):
            put(folder, number).close()
        before = stored(path)
        here, there = FORK.Pipe()
        process = FORK.Process(target=_as_another_user, args=(path, there))
        process.start()
        outcome, after = here.recv()
        process.join()
        if mode == 0o777:
            assert outcome == [True] * 5 and set(after) == {f"{key(number)}.shard" for number in (4, 5, 6)}
        elif mode == 0o1777:  # nobody may delete the files of others: right rows, but from the source
            assert outcome == [True] + [False] * 4 and set(after) == before
        else:
            assert "may not write" in outcome[0] and set(after) == before


def _churn(path: Path, seed: int) -> None:
    folder = opened(path, 4)
    for step in range(150):
        number = (seed * 7 + step * step) % 9
        lease = folder.lease(key(number), SIZE, soon())
        if lease is None:
            made = put(folder, number) if seed % 2 else folder.reserve(key(number), SIZE, soon())
            if isinstance(made, Reservation):
                folder.give_up(made)
            lease = made if isinstance(made, Lease) else None
        if lease is not None:
            assert os.pread(lease.descriptor, SIZE + 1, 0) == bytes([number]) * SIZE
            lease.close()


def test_many_processes_stay_within_the_quota(tmp_path: Path) -> None:
    path = tmp_path / "new"
    processes = [FORK.Process(target=_churn, args=(path, seed)) for seed in range(6)]
    for process in processes:
        process.start()
    most = 0
    while any(process.is_alive() for process in processes):
        if (path / MARKER).exists():
            most = max(most, bytes_in(path))
        time.sleep(0.002)
    assert [process.exitcode for process in processes] == [0] * 6
    assert 3 * SIZE <= most <= 4 * SIZE


def bytes_in(path: Path) -> int:
    """What all files take, while nobody may add one."""
    with (path / MARKER).open() as marker:
        fcntl.flock(marker, fcntl.LOCK_EX)
        with os.scandir(path) as found:
            files = {entry.inode(): entry.stat().st_size for entry in found if entry.name != MARKER and exists(entry)}
    return sum(files.values())


def exists(entry: os.DirEntry[str]) -> bool:
    try:
        return bool(entry.stat())
    except FileNotFoundError:  # published or given up meanwhile
        return False
