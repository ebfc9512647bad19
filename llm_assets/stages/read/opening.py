"""Opens a landed file: finds its format by its name, and the files in it where it is an archive.

Guarantees that every file, also in an archive, yields at least one record: one that stands for it where there is none,
or where nothing of it can be read. What the records of a format are is the business of `formats.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import IO, cast

from llm_assets.stages.read.files import InputFile, Openable
from llm_assets.stages.read.formats import Format, formats
from llm_assets.stages.read.layers.archives import Member, tar_members, zip_members
from llm_assets.stages.read.layers.content import Content
from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.stages.read.records import (
    RAW_LIMIT,
    BrokenStreamError,
    Quarantined,
    ReadError,
    Record,
    UnreadableFileError,
)
from llm_assets.stages.read.suffixes import COMPRESSIONS, TAR, WHOLE, ZIP, Suffix, suffix_of

NamedRecord = tuple[str, Record]
"""A record and the file it is from: `data.zip/inside.jsonl` in an archive."""


@dataclass(frozen=True)
class _Found:
    """A file: its name, size in bytes, first bytes, and what can be done with it."""

    name: str
    size: int
    head: bytes
    file: IO[bytes]
    seeks: bool = False

    def unreadable(self, problem: UnreadableFileError, byte_offset: int | None = 0) -> NamedRecord:
        """The entry that stands for the file."""
        return self.name, Quarantined(1, byte_offset, problem.error, problem.detail, self.head, self.size)

    def broken(self, records: int, problem: BrokenStreamError) -> NamedRecord:
        """The entry for what is lost behind so many records."""
        detail = f"after record {records}: {problem.detail}"
        return self.name, Quarantined.of(records + 1, None, problem.error, detail, problem.pending)


@dataclass(frozen=True)
class Opening:
    """Finds the records of landed files."""

    parameters: ReadParameters

    @cached_property
    def _formats(self) -> dict[str, Format]:
        return formats(self.parameters)

    def records(self, folder: Openable, file: InputFile) -> Iterator[NamedRecord]:
        """The records of a landed file, in order. Raises OSError where it cannot be opened or read."""
        with folder.open(file.name) as opened:
            head = opened.read(RAW_LIMIT)
            opened.seek(0)
            found = _Found(file.name, file.size, head, opened, seeks=True)
            suffix = self._suffix(file.name)
            if suffix and head and suffix.format in (*TAR, *ZIP):
                yield from self._archived(found, suffix)
            else:
                yield from self._read(found, suffix)

    def _suffix(self, name: str) -> Suffix | None:
        return suffix_of(name, self.parameters.formats, self.parameters.further_suffixes)

    def _archived(self, archive: _Found, suffix: Suffix) -> Iterator[NamedRecord]:
        """The records of the files in an archive."""
        blocks = Content(archive.file, archive.seeks, suffix.compression).blocks
        count = 0
        try:
            for member in tar_members(blocks()) if suffix.format in TAR else zip_members(archive.file):
                count += 1
                yield from self._member(f"{archive.name}/{member.name}", member)
        except BrokenStreamError as broken:
            yield archive.broken(count, broken)
        except UnreadableFileError as problem:
            yield archive.unreadable(problem, None)
        else:
            if not count:
                nothing = UnreadableFileError(ReadError.EMPTY_FILE, "there is no file in the archive")
                yield archive.unreadable(nothing, None)

    def _member(self, name: str, member: Member) -> Iterator[NamedRecord]:
        if isinstance(member.file, UnreadableFileError):
            yield name, Quarantined(1, None, member.file.error, member.file.detail, b"", member.size)
            return
        found = _Found(name, member.size, member.file.head(), cast("IO[bytes]", member.file))
        suffix = self._suffix(name)
        yield from self._read(found, None if suffix and suffix.format in (*TAR, *ZIP) else suffix)

    def _read(self, found: _Found, suffix: Suffix | None) -> Iterator[NamedRecord]:
        """The records of a file; if there is none, or nothing can be read, one that stands for the file."""
        count = 0
        problem = UnreadableFileError(ReadError.EMPTY_FILE, "there is no record in the file")
        try:
            for record in self._content_records(found, suffix):
                count += 1
                yield found.name, record
        except UnreadableFileError as unreadable:
            problem = unreadable
        except BrokenStreamError as broken:
            if count:
                yield found.broken(count, broken)
            problem = UnreadableFileError(broken.error, broken.detail)
        if not count:
            yield found.unreadable(problem, None if suffix and suffix.format in WHOLE else 0)

    def _content_records(self, found: _Found, suffix: Suffix | None) -> Iterator[Record]:
        if not found.head and not found.size:
            raise UnreadableFileError(ReadError.EMPTY_FILE, "the file has no bytes")
        if suffix is None:
            known = " ".join((*self._formats, *TAR, *ZIP))
            detail = f"no reader for this suffix; there are {known}, and {' '.join(COMPRESSIONS)} around text"
            raise UnreadableFileError(ReadError.UNKNOWN_FORMAT, f"{detail}; `read.formats` can map others")
        content = Content(found.file, found.seeks, suffix.compression)
        return self._formats[suffix.format].records(content, self.parameters)
