"""The contract of a reader that a project brings itself, for a file format that is not read here.

A reader is a subclass of `Reader`: it says which suffixes it reads, and gives a `Document` or an `Unreadable` for every
record of a file. What becomes of them is in `given.py`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, ClassVar

from llm_assets.contract.plugin import Plugin


@dataclass(frozen=True)
class Document:
    """A record that was read.

    `id` is the record's own, if it has one. `metadata` holds what JSON can hold. `byte_offset` is where the record
    begins in the decompressed file, None where that means nothing.
    """

    text: str
    id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    byte_offset: int | None = None


@dataclass(frozen=True)
class Unreadable:
    """A record that is no document: goes to quarantine as `unreadable`, with its bytes as far as they are known."""

    why: str
    raw: bytes = b""
    byte_offset: int | None = None


class Reader(Plugin):
    """Base of the readers that a project brings itself; its fields are its settings."""

    group = "llm_assets.readers"
    suffixes: ClassVar[tuple[str, ...]]
    """The suffixes of its files, such as `(".srt",)`."""
    seeks: ClassVar[bool] = False
    """Whether it reads here and there. Else it is given a file from front to back, which may be compressed."""

    @abstractmethod
    def read(self, file: IO[bytes]) -> Iterator[Document | Unreadable]:
        """The records of a file, in order. Memory should be bounded by a record."""
