"""The folder of a cache: files named by content, eviction of the least recently used, leases, a quarantine.

Guarantees that only files that the cache made are written or deleted: all access is by names of its own pattern,
relative to one open directory, never through a link. Files appear whole or not at all, stay within the quota together,
and are not deleted while in use, whatever processes share the folder and whenever they are killed. The reader checks
the bytes.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from llm_assets.loader.cache.counters import CacheCounters
from llm_assets.loader.cache.errors import CacheFolderError, NotACacheError
from llm_assets.loader.cache.leases import LockedFile

MARKER = ".llm-assets-shard-cache"
"""The file that marks the folder as a cache. Its lock is held while files are evicted or published."""

_NAME = re.compile(r"[0-9a-f]{32}\.(?:shard|part|[0-9a-f]{8}\.bad)")
_BAD_KEPT = 4
"""Damaged files kept for inspection; they count towards the quota and are evicted first."""
_SHARING = ": to share a cache between users, give a common group write access to the folder, without the sticky bit"


class ReservationFailure(Enum):
    """The reason why room for a file cannot be reserved now."""

    BUSY = "another process fetches it, or just did"
    NO_ROOM = "no room: all cached files are in use"


@dataclass(frozen=True)
class _Entry:
    name: str
    size: int
    used: int


class Lease(LockedFile):
    """A cached file, open for reading, that is not evicted until this is closed."""

    def __init__(self, descriptor: int, key: str) -> None:
        super().__init__(descriptor)
        self.key = key


class Reservation(LockedFile):
    """Room for a file that only this process writes. Readers see it once it is `published`."""

    def __init__(self, descriptor: int, key: str) -> None:
        super().__init__(descriptor)
        self.key = key

    def write(self, start: int, data: memoryview) -> None:
        """Write bytes from `start` on. Raises ValueError once closed."""
        while data:
            written = os.pwrite(self.descriptor, data, start)
            start += written
            data = data[written:]


class CacheFolder:
    """The folder at `path`, created if it does not exist.

    Raises NotACacheError for a folder with other files, CacheFolderError for one that cannot be used.
    """

    def __init__(self, path: str | Path, quota_bytes: int, counters: CacheCounters) -> None:
        self.path = Path(path).resolve()
        self._quota = quota_bytes
        self._counters = counters
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._directory = LockedFile(os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError as error:
            raise CacheFolderError(f"{self.path} cannot be the folder of a cache: {error.strerror}") from error
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise CacheFolderError(
                f"{self.path} cannot be the folder of a cache: this user may not write there{_SHARING}"
            )
        mode = stat.S_IMODE(os.fstat(self._directory.descriptor).st_mode)
        self._file_mode = mode & 0o666  # whoever may use the folder may use its files
        self._claim()

    def _claim(self) -> None:
        with os.scandir(self._directory.descriptor) as found:
            names = [entry.name for entry in found]
        if MARKER not in names and names and not (self.path / MARKER).exists():  # it may have been created just now
            raise NotACacheError(
                f"{self.path} is not empty and not a shard cache (it has {sorted(names)[0]!r}): choose another folder"
            )
        with self._marker():
            pass

    def lease(self, key: str, size: int, until: float) -> Lease | None:
        """A lease on the file of that key; None where it is not there. A file of another size is quarantined.

        Raises CacheFolderError where it exists and may not be read.
        """
        name = f"{key}.shard"
        while True:
            descriptor = self._open(name, os.O_RDONLY)
            if descriptor is None:
                return None
            lease = Lease(descriptor, key)
            if not lease.lock(exclusive=False, until=until):
                lease.close()
                return None
            if not lease.is_at(name, self._directory.descriptor):
                lease.close()
                continue
            if os.fstat(descriptor).st_size != size:
                self.quarantine(lease, until)
                return None
            with suppress(PermissionError):  # another user's file: its time of last use stays
                os.utime(descriptor)
            return lease

    def reserve(self, key: str, size: int, until: float) -> Reservation | ReservationFailure:
        """Reserve room for a file, evicting unused files, least recently used first. BUSY where the file exists."""
        name = f"{key}.part"
        with self._alone(until) as alone:
            if not alone or self._is_there(f"{key}.shard"):  # published since the caller looked for it
                return ReservationFailure.BUSY
            reservation = self._reservation(name, key)
            if reservation is None:
                return ReservationFailure.BUSY
            if self._make_room(size, name) and self._allocate(reservation, size):
                return reservation
            self._unlink(name)
            reservation.close()
            return ReservationFailure.NO_ROOM

    def publish(self, reservation: Reservation, until: float) -> Lease | None:
        """Make the file visible to readers and lease it; None where that fails or the file was evicted at once."""
        name = f"{reservation.key}.shard"
        directory = self._directory.descriptor
        with self._alone(until) as alone:  # a concurrent count of the files would miss one that is renamed meanwhile
            try:
                if alone:
                    os.rename(f"{reservation.key}.part", name, src_dir_fd=directory, dst_dir_fd=directory)
            except FileNotFoundError:  # the folder was emptied by someone else
                alone = False
        if not alone:
            self.give_up(reservation)
            return None
        lease = Lease(os.dup(reservation.descriptor), reservation.key)
        reservation.close()
        if lease.lock(exclusive=False) and lease.is_at(name, directory):
            return lease
        lease.close()
        return None

    def give_up(self, reservation: Reservation) -> None:
        """Delete the unfinished file."""
        if reservation.is_at(f"{reservation.key}.part", self._directory.descriptor):
            self._unlink(f"{reservation.key}.part")
        reservation.close()

    def quarantine(self, lease: Lease, until: float) -> None:
        """Move a damaged file aside, unless another process did so, and close the lease."""
        name, directory = f"{lease.key}.shard", self._directory.descriptor
        with lease, self._alone(until) as alone:
            if alone and lease.is_at(name, directory):
                try:
                    os.rename(
                        name, f"{lease.key}.{secrets.token_hex(4)}.bad", src_dir_fd=directory, dst_dir_fd=directory
                    )
                except PermissionError as error:
                    raise CacheFolderError(f"{self.path}/{name} is damaged and cannot be moved: {error}") from error
                self._counters.add(quarantined=1)
                for entry in [each for each in self._entries() if each.name.endswith(".bad")][:-_BAD_KEPT]:
                    self._unlink(entry.name)

    def _reservation(self, name: str, key: str) -> Reservation | None:
        """The unfinished file of that name, created and locked; None where another process writes it."""
        while True:
            descriptor = self._open(name, os.O_RDWR | os.O_CREAT)
            if descriptor is None:
                raise CacheFolderError(f"{self.path}: the folder of the cache has gone")
            reservation = Reservation(descriptor, key)
            if not reservation.lock(exclusive=True):
                reservation.close()
                return None
            if reservation.is_at(name, self._directory.descriptor):
                return reservation
            reservation.close()  # published since it was opened

    def _allocate(self, reservation: Reservation, size: int) -> bool:
        """Give the file its size and its blocks on disk; False where the disk is full."""
        os.ftruncate(reservation.descriptor, size)
        try:
            os.posix_fallocate(reservation.descriptor, 0, size)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return False
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # filesystems that cannot
                raise
        return True

    def _make_room(self, size: int, but: str) -> bool:
        """Evict files until `size` more bytes fit in the quota; only unfinished ones where that is not enough."""
        entries = [entry for entry in self._entries() if entry.name != but]
        used = sum(entry.size for entry in entries)
        going: list[tuple[_Entry, LockedFile]] = []
        try:
            for entry in entries:
                abandoned = entry.name.endswith(".part")
                if used + size <= self._quota and not abandoned:
                    continue
                held = self._unused(entry.name)
                if held is not None:
                    going.append((entry, held))
                    used -= entry.size
            enough = used + size <= self._quota
            for entry, _ in going:
                if (enough or entry.name.endswith(".part")) and self._unlink(entry.name):
                    self._counters.add(evicted=entry.name.endswith(".shard"))
                elif enough:
                    return False
            return enough
        finally:
            for _, held in going:
                held.close()

    def _unused(self, name: str) -> LockedFile | None:
        """The file, locked exclusively; None where it is in use or this user may not delete it."""
        with suppress(CacheFolderError):
            descriptor = self._open(name, os.O_RDONLY)
            if descriptor is not None:
                held = LockedFile(descriptor)
                if held.lock(exclusive=True) and held.is_at(name, self._directory.descriptor):
                    return held
                held.close()
        return None

    def _entries(self) -> list[_Entry]:
        """The files of the cache in order of eviction: unfinished, damaged, then least recently used."""
        kinds = {".part": 0, ".bad": 1, ".shard": 2}
        return sorted(self._unsorted(), key=lambda entry: (kinds[Path(entry.name).suffix], entry.used, entry.name))

    def _unsorted(self) -> Iterator[_Entry]:
        with os.scandir(self._directory.descriptor) as found:
            for entry in found:
                if _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    with suppress(FileNotFoundError):
                        about = entry.stat(follow_symlinks=False)
                        yield _Entry(entry.name, about.st_size, about.st_mtime_ns)

    @contextmanager
    def _alone(self, until: float) -> Generator[bool]:
        """Hold the folder's lock, which eviction and publishing need; yields False where it was not free in time."""
        with self._marker() as marker:
            yield marker.lock(exclusive=True, until=until)

    def _marker(self) -> LockedFile:
        descriptor = self._open(MARKER, os.O_RDONLY)
        if descriptor is None:
            descriptor = self._open(MARKER, os.O_RDWR | os.O_CREAT)
            if descriptor is None:
                raise CacheFolderError(f"{self.path}: the folder of the cache has gone")
            os.pwrite(descriptor, json.dumps({"format": 1}).encode(), 0)
        return LockedFile(descriptor)

    def _open(self, name: str, flags: int) -> int | None:
        """Open a file of the folder, never through a link; None where it does not exist."""
        try:
            descriptor = os.open(name, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=self._directory.descriptor)
        except FileNotFoundError:
            return None
        except OSError as error:
            advice = _SHARING if isinstance(error, PermissionError) else ""
            raise CacheFolderError(f"{self.path}/{name}: {error.strerror}{advice}") from error
        if flags & os.O_CREAT and os.fstat(descriptor).st_uid == os.geteuid():
            os.fchmod(descriptor, self._file_mode)
        return descriptor

    def _is_there(self, name: str) -> bool:
        try:
            os.stat(name, dir_fd=self._directory.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def _unlink(self, name: str) -> bool:
        try:
            os.unlink(name, dir_fd=self._directory.descriptor)
        except FileNotFoundError:
            return True
        except PermissionError:  # a file of another user in a sticky folder
            return False
        return True
