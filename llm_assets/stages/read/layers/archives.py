"""The files in an archive, one after the other.

Guarantees that every file of the archive is handed out or told of as one that cannot be read, and that an archive
which is cut or damaged is never taken for a whole one. Of a damaged member of a zip archive up to 64 KiB before the
damage may be missing. Archives inside of archives are not opened.
"""

from __future__ import annotations

import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Self, cast

from llm_assets.stages.read.records import RAW_LIMIT, BrokenStreamError, ReadError, UnreadableFileError


class MemberFile:
    """A file that only goes forward, whose damage is a BrokenStreamError behind the last byte before it."""

    def __init__(self, next_bytes: Callable[[int], bytes]) -> None:
        self._next_bytes = next_bytes
        self._held = b""
        self._problem: BrokenStreamError | None = None

    def head(self) -> bytes:
        """Its first bytes, which are still to be read."""
        self._fill(RAW_LIMIT)
        return self._held[:RAW_LIMIT]

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes, or all; less only where the file ends or before damage."""
        self._fill(size)
        size = len(self._held) if size < 0 else size
        data, self._held = self._held[:size], self._held[size:]
        if not data and size and self._problem:
            raise self._problem
        return data

    def _fill(self, size: int) -> None:
        parts, there = [self._held], len(self._held)
        while self._problem is None and (size < 0 or there < size):
            data = self._guarded((1 << 20) if size < 0 else size - there)
            if not data:
                break
            parts.append(data)
            there += len(data)
        self._held = b"".join(parts)

    def _guarded(self, size: int) -> bytes:
        try:
            return self._next_bytes(size)
        except BrokenStreamError as error:
            self._problem = error
        except (tarfile.TarError, EOFError) as error:
            self._problem = BrokenStreamError(ReadError.TRUNCATED_FILE, f"the archive ends inside it: {error}")
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError) as error:
            self._problem = BrokenStreamError(ReadError.CORRUPT_FILE, f"damaged in the archive: {error}")
        return b""


@dataclass(frozen=True)
class Member:
    """A file in an archive: its name, its size in bytes, and its content, or why that cannot be had."""

    name: str
    size: int
    file: MemberFile | UnreadableFileError


def tar_members(blocks: Iterator[bytes]) -> Iterator[Member]:
    """The files of a tar archive that is read from front to back; each is to be read before the next is asked for.

    Raises UnreadableFileError where it is no tar archive, and BrokenStreamError where it is cut or damaged.
    """
    forward = _Forward(blocks)
    try:
        archive = tarfile.TarFile(fileobj=cast("IO[bytes]", forward), tarinfo=_Header, errorlevel=2)
    except tarfile.TarError as error:
        raise UnreadableFileError(ReadError.WRONG_FORMAT, f"not a tar archive: {error}") from error
    while (header := _next_header(archive)) is not None:
        archive.members.clear()  # pyright: ignore[reportAttributeAccessIssue]  which would collect them all
        if not header.isdir() and not _is_hidden(header.name):
            yield Member(header.name, header.size, _tar_file(forward, header))


def _next_header(archive: tarfile.TarFile) -> tarfile.TarInfo | None:
    try:
        return archive.next()
    except tarfile.TarError as error:
        raise BrokenStreamError(ReadError.TRUNCATED_FILE, f"the tar archive is cut: {error}") from error


def _tar_file(forward: _Forward, header: tarfile.TarInfo) -> MemberFile | UnreadableFileError:
    if not header.isreg() or header.issparse():
        return UnreadableFileError(ReadError.UNSUPPORTED, "neither a plain file nor a folder: unpack the archive first")
    left = header.size

    def next_bytes(size: int) -> bytes:
        nonlocal left
        data = forward.read(min(size, left))
        if left and not data:
            raise EOFError("the archive is cut")
        left -= len(data)
        return data

    forward.seek(header.offset_data)
    return MemberFile(next_bytes)


_HEADER_ERRORS = {
    "EmptyHeaderError": ReadError.TRUNCATED_FILE,
    "TruncatedHeaderError": ReadError.TRUNCATED_FILE,
    "InvalidHeaderError": ReadError.CORRUPT_FILE,
}
"""Errors of the library after which it takes an archive for ended; their classes have no public names."""


class _Header(tarfile.TarInfo):
    """Says that an archive is damaged or cut, where the library takes it for ended."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The next header."""
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            kind = _HEADER_ERRORS.get(type(error).__name__)
            if archive.offset == 0 or kind is None:
                raise
            raise BrokenStreamError(kind, f"the tar archive ends without its end mark: {error}") from error


class _Forward:
    """Blocks as a file that can seek as far as the tar library needs it, which is forward."""

    mode = "rb"

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._file = MemberFile(lambda _: next(blocks, b""))
        self._place = 0

    def tell(self) -> int:
        return self._place

    def seek(self, place: int) -> None:
        if place < self._place:
            raise io.UnsupportedOperation("a tar archive is read from front to back")
        while self._place < place and self.read(min(place - self._place, 1 << 20)):
            pass

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._place += len(data)
        return data


def zip_members(file: IO[bytes]) -> Iterator[Member]:
    """The files of a zip archive, in the order of its directory.

    Raises UnreadableFileError where it is no zip archive, or its directory, at its end, is missing.
    """
    head = file.read(4)
    file.seek(0)
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        if not head.startswith(b"PK"):
            raise UnreadableFileError(ReadError.WRONG_FORMAT, "not a zip archive") from error
        detail = f"the directory of the zip archive, at its end, cannot be read: {error}"
        raise UnreadableFileError(ReadError.TRUNCATED_FILE, detail) from error
    with archive:
        for entry in archive.infolist():
            name = _zip_name(entry)
            if not entry.is_dir() and not _is_hidden(name):
                yield Member(name, entry.file_size, _zip_file(archive, entry))


def _zip_file(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> MemberFile | UnreadableFileError:
    if entry.flag_bits & 1:
        return UnreadableFileError(ReadError.UNSUPPORTED, "encrypted: unpack the archive before it lands")
    try:
        return MemberFile(cast("zipfile.ZipExtFile", archive.open(entry)).read1)
    except NotImplementedError as error:
        return UnreadableFileError(ReadError.UNSUPPORTED, f"unpack the archive before it lands: {error}")
    except zipfile.BadZipFile as error:
        return UnreadableFileError(ReadError.CORRUPT_FILE, f"damaged in the archive: {error}")


def _zip_name(entry: zipfile.ZipInfo) -> str:
    """The name: UTF-8 where it is that, also without the flag that says so; else code page 437, the format's own."""
    if entry.flag_bits & 0x800:
        return entry.filename
    try:
        return entry.filename.encode("cp437").decode()
    except UnicodeError:
        return entry.filename


def _is_hidden(name: str) -> bool:
    """Whether a name is no data, by the same rule as in a landing folder."""
    return any(step.startswith(("_", ".")) for step in PurePosixPath(name).parts if step not in ("/", ".."))
