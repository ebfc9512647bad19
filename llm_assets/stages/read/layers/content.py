"""The content of one file, whether it lies in a folder or in an archive, as the readers of formats want it.

Guarantees that it can be read from its beginning more than once, and here and there where a format needs that: what
only goes forward is then spooled, in memory while it is small, else in a temporary file.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, cast

from llm_assets.stages.read.layers.compression import STREAMS
from llm_assets.stages.read.records import BrokenStreamError

_SPOOL_BYTES = 16 << 20


@dataclass(frozen=True)
class Content:
    """A file at its beginning. `seeks` says whether it can go back cheaply; `compression` is its suffix, or ""."""

    file: IO[bytes]
    seeks: bool
    compression: str

    def blocks(self) -> Iterator[bytes]:
        """The decompressed bytes, from where the file is; raises as `Stream` says."""
        return STREAMS[self.compression](self.file)

    @contextmanager
    def seekable(self) -> Generator[IO[bytes]]:
        """The decompressed bytes at their beginning, to be read here and there; raises as `Stream` says."""
        if not self.compression:
            with self.twice() as stored:
                yield stored.file
            return
        with _spool() as file:
            for block in self.blocks():
                file.write(block)
            file.seek(0)
            yield file

    @contextmanager
    def twice(self) -> Generator[Content]:
        """The same content, of which `file` can go back to its beginning."""
        if self.seeks:
            yield self
            return
        with _spool() as file:
            shutil.copyfileobj(self.file, file, 1 << 20)
            file.seek(0)
            yield Content(file, True, self.compression)


@contextmanager
def _spool() -> Generator[IO[bytes]]:
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as file:
        yield cast("IO[bytes]", file)


class BlockFile(io.RawIOBase):
    """Blocks as a file that only goes forward; buffer it before use.

    Raises what `blocks` raises; `broken` remembers a break, should whoever reads not heed it.
    """

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._block = memoryview(b"")
        self.broken: BrokenStreamError | None = None

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Fill the buffer as far as one block goes."""
        while not self._block:
            try:
                block = next(self._blocks, None)
            except BrokenStreamError as broken:
                self.broken = broken
                raise
            if block is None:
                return 0
            self._block = memoryview(block)
        count = min(len(buffer), len(self._block))
        buffer[:count] = self._block[:count]
        self._block = self._block[count:]
        return count
