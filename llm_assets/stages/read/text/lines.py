"""Lines and their places, of text that comes in blocks.

Guarantees every byte in exactly one line, at a cost proportional to the bytes, and that no line takes more memory than
`RECORD_LIMIT`. What a line means is the readers' business.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from llm_assets.stages.read.records import RECORD_LIMIT, BrokenStreamError

_ANY_END = re.compile(rb"\r\n?|\n")


class Line(NamedTuple):
    """One line: its number from 1, where it begins, its bytes and the line end that follows them.

    `size` is its length without the end. It is more than that of `data` where the line is over `RECORD_LIMIT`: then
    `data` is its beginning.
    """

    number: int
    offset: int
    data: bytes
    end: bytes
    size: int

    @property
    def is_whole(self) -> bool:
        """Whether `data` is all of it."""
        return self.size == len(self.data)


def lines_of(blocks: Iterable[bytes], any_end: bool = False) -> Iterator[Line]:
    """The lines of a text. They end with LF; with `any_end` also with CRLF or CR.

    A byte-order mark at the start belongs to no line. Raises BrokenStreamError where `blocks` does, with what follows
    the last line end as `pending`.
    """
    offset = 0
    for number, (data, end, size) in enumerate(_split(blocks, any_end), 1):
        start = offset
        if number == 1 and data.startswith(codecs.BOM_UTF8):
            marked = len(codecs.BOM_UTF8)
            start, data, size = start + marked, data[marked:], size - marked
        offset = start + size + len(end)
        yield Line(number, start, data, end, size)


_Piece = tuple[bytes, bytes, int]


def _split(blocks: Iterable[bytes], any_end: bool) -> Iterator[_Piece]:
    """Data (cut at the limit), end and size of each line; the last one may lack its end."""
    pending = _Pending()
    held = b""
    try:
        for block in blocks:
            block = held + block
            held = b"\r" if any_end and block.endswith(b"\r") else b""  # it may be the first half of CRLF
            block = block.removesuffix(held)
            if any_end and b"\r" in block:
                yield from pending.ended_by_any(block)
            else:
                yield from pending.ended_by_newline(block)
    except BrokenStreamError as broken:
        raise BrokenStreamError(broken.error, broken.detail, pending.taken()[0] + held) from broken
    data, size = pending.taken()
    if size or held:
        yield data, held, size


class _Pending:
    """The beginning of a line whose end has not come yet."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def _add(self, part: bytes) -> None:
        room = RECORD_LIMIT - self._size
        if room > 0:
            self._parts.append(part[:room] if len(part) > room else part)
        self._size += len(part)

    def taken(self) -> tuple[bytes, int]:
        """The line read so far, cut at the limit, and its size; then starts a new one."""
        data, size = b"".join(self._parts), self._size
        self._parts, self._size = [], 0
        return data, size

    def ended_by_newline(self, block: bytes) -> Iterator[_Piece]:
        first, *others = block.split(b"\n")
        self._add(first)
        if others:
            data, size = self.taken()
            yield data, b"\n", size
            self._add(others.pop())
            for line in others:
                yield line, b"\n", len(line)

    def ended_by_any(self, block: bytes) -> Iterator[_Piece]:
        start = 0
        for end in _ANY_END.finditer(block):
            self._add(block[start : end.start()])
            data, size = self.taken()
            yield data, end[0], size
            start = end.end()
        self._add(block[start:])
