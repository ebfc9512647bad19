"""Text in other encodings, as blocks of UTF-8.

Guarantees that bytes which are no text in the encoding become bytes that are no UTF-8, so that they cost their record
and no other, and that a place in the UTF-8 text can be traced to the place in the file.
"""

from __future__ import annotations

import codecs
import re
from collections import deque
from collections.abc import Iterable, Iterator

import charset_normalizer

from llm_assets.stages.read.parameters import UTF8
from llm_assets.stages.read.records import BrokenStreamError

_SAMPLE_BYTES = 64 << 10
_NOT_ASCII = re.compile(rb"[^\n]*[\x80-\xff][^\n]*\n?")
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
"""Byte-order marks; the longer ones first, since one begins like another."""
_ORDERED = {"utf-16": "utf-16-le", "utf-32": "utf-32-le", "utf-8-sig": UTF8}
"""Encodings that look for a mark, and what they are without one."""
_WITH_STATES = ("iso2022", "utf-7", "hz")
_INVALID = "\udcff"
"""Stands for a byte that is no text: written as UTF-8 with `surrogateescape`, it is the byte FF."""
_ERRORS = "llm_assets.invalid"


def _replace(error: UnicodeError) -> tuple[str | bytes, int]:
    """Error handler of decoding (a mark for every byte that is no text) and of encoding (a byte for every mark)."""
    if isinstance(error, UnicodeDecodeError):
        return _INVALID * (error.end - error.start), error.end
    if isinstance(error, UnicodeEncodeError):
        return b"?" * (error.end - error.start), error.end
    raise error


codecs.register_error(_ERRORS, _replace)


def detect_encoding(blocks: Iterable[bytes]) -> str:
    """The encoding of a text: what a byte-order mark says, UTF-16 where every other byte is zero, UTF-8 where all of it
    is that, or else what charset-normalizer makes of its first lines that are not ASCII, at most 64 KiB of them.
    """
    head = b""
    sample = bytearray()
    decoder = codecs.getincrementaldecoder(UTF8)()
    is_utf8 = True
    try:
        for block in _with_whole_mark(blocks):
            if not head and (decided := _marked(block) or _wide(block)):
                return decided
            head = head or block
            is_utf8 = is_utf8 and _decodes(decoder, block)
            for line in _NOT_ASCII.finditer(block) if len(sample) < _SAMPLE_BYTES else ():
                sample += line[0][:_SAMPLE_BYTES]
                if len(sample) >= _SAMPLE_BYTES:
                    break
    except BrokenStreamError:
        pass  # the reader meets the break too, and tells of it
    if is_utf8 and _decodes(decoder, b"", final=True):
        return UTF8
    best = charset_normalizer.from_bytes(bytes(sample)).best()
    return UTF8 if best is None else codecs.lookup(best.encoding).name


def _with_whole_mark(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The blocks, the first with at least the bytes of the longest mark if there are so many."""
    head, rest = b"", iter(blocks)
    for block in rest:
        head += block
        if len(head) >= max(map(len, _MARKS)):
            break
    if head:
        yield head
    yield from rest


def _marked(head: bytes) -> str | None:
    return next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)


def _wide(head: bytes) -> str | None:
    """UTF-16 without a mark, where it is mostly of Latin script: every other byte is zero."""
    first, second = head[0:4096:2], head[1:4096:2]
    mostly = max(1, len(second)) * 0.7
    if second.count(0) > mostly > first.count(0):
        return "utf-16-le"
    return "utf-16-be" if first.count(0) > mostly > second.count(0) else None


def _decodes(decoder: codecs.IncrementalDecoder, block: bytes, final: bool = False) -> bool:
    try:
        decoder.decode(block, final)
    except UnicodeDecodeError:
        return False
    return True


class Transcoded:
    """Blocks of text in some encoding, iterated as UTF-8. Byte-order marks stay: they become UTF-8's."""

    def __init__(self, blocks: Iterable[bytes], encoding: str) -> None:
        self._blocks = blocks
        self._encoding = encoding
        self._decoded: deque[memoryview] = deque()
        self._from = 0
        self._original: int | None = None if encoding.startswith(_WITH_STATES) else 0

    def __iter__(self) -> Iterator[bytes]:
        decoder: codecs.IncrementalDecoder | None = None
        for block in _with_whole_mark(self._blocks):
            if decoder is None:
                if self._encoding in _ORDERED:
                    self._encoding = _marked(block) or _ORDERED[self._encoding]
                decoder = codecs.getincrementaldecoder(self._encoding)(_ERRORS)
            yield from self._utf8(decoder.decode(block))
        if decoder is not None:
            yield from self._utf8(decoder.decode(b"", True))

    def _utf8(self, text: str) -> Iterator[bytes]:
        if text:
            data = text.encode(UTF8, "surrogateescape")
            if self._original is not None:
                self._decoded.append(memoryview(data))
            yield data

    def original(self, offset: int) -> int | None:
        """Where in the file that byte of the UTF-8 text comes from. Asked for in order, from front to back.

        None where the encoding has states (as ISO-2022 and UTF-7), so that the same text may have different lengths.
        """
        while self._original is not None and self._from < offset:
            data = self._decoded.popleft()
            part, rest = data[: offset - self._from], data[offset - self._from :]
            if rest:
                self._decoded.appendleft(rest)
            self._from += len(part)
            self._original += len(bytes(part).decode(UTF8, "surrogateescape").encode(self._encoding, _ERRORS))
        return self._original
