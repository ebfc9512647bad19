"""The bytes of a file, decompressed, as blocks of bounded size.

Guarantees that everything before a cut or a damaged place is delivered before `BrokenStreamError` says so (of xz and
bzip2 up to the last `_CAREFUL_BYTES` before damage), and that a file cut short is never taken for a whole one. What the
bytes mean is the readers' business.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Protocol

import zstandard

from llm_assets.stages.read.records import BrokenStreamError, ReadError, UnreadableFileError
from llm_assets.stages.read.suffixes import BZIP2, GZIP, XZ, ZSTANDARD

Stream = Callable[[IO[bytes]], Iterator[bytes]]
"""From an open file to its decompressed blocks. Raises UnreadableFileError in place of the first and
BrokenStreamError after the last that could be had."""

_READ_BYTES = 256 << 10
_OUTPUT_BYTES = 1 << 20
_CAREFUL_BYTES = 16 << 10
_XZ_MEMORY = 256 << 20
"""Memory that decompressing an xz file may take: `xz -9` needs 65 MiB; files can ask for up to 4 GiB."""

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_XZ = b"\xfd7zXZ\x00"
_BZIP2 = b"BZh"
_SIGNATURES = {
    _GZIP: "gzip",
    _ZSTD: "Zstandard",
    _XZ: "xz",
    b"BZh91AY&SY": "bzip2",
    b"PK\x03\x04": "a zip archive",
    b"PAR1\x15": "Parquet",
    b"ARROW1\0\0": "Arrow",
}
"""First bytes no text file starts with: none is valid UTF-8, or only with control characters or by a far chance."""


def signature(head: bytes) -> str | None:
    """The format that a file's first bytes give away, or None."""
    return next((name for start, name in _SIGNATURES.items() if head.startswith(start)), None)


def _wrong_format(head: bytes, expected: str) -> UnreadableFileError:
    found = signature(head)
    starts = f"it starts like {found}" if found else f"it starts with the bytes {head[:8].hex(' ')}"
    return UnreadableFileError(ReadError.WRONG_FORMAT, f"not {expected}: {starts}")


def plain(file: IO[bytes]) -> Iterator[bytes]:
    """An uncompressed file. A cut cannot be seen here; a compressed file under a plain name can."""
    block = file.read(_READ_BYTES)
    if signature(block):
        raise _wrong_format(block, "plain text")
    while block:
        yield block
        block = file.read(_READ_BYTES)


def gunzip(file: IO[bytes]) -> Iterator[bytes]:
    """A gzip file of one or more members (RFC 1952), zeros behind the last one allowed."""
    block = file.read(_READ_BYTES)
    if not (block.startswith(_GZIP) or _GZIP.startswith(block)):
        raise _wrong_format(block, "gzip")
    member = zlib.decompressobj(wbits=31)
    while block:
        yield from _inflate(member, block)
        if not member.eof:
            block = file.read(_READ_BYTES)
            continue
        block = member.unused_data.lstrip(b"\0") or _first_beyond_zeros(file)
        if not block:
            return
        if not (block.startswith(_GZIP) or _GZIP.startswith(block)):
            raise BrokenStreamError(ReadError.CORRUPT_FILE, "what follows the end of a gzip member is no gzip member")
        member = zlib.decompressobj(wbits=31)
    if output := member.flush():
        yield output
    raise BrokenStreamError(ReadError.TRUNCATED_FILE, "the file ends inside a gzip member")


class _GzipMember(Protocol):
    """The type of `zlib.decompressobj()`; the class has no public name."""

    @property
    def eof(self) -> bool: ...
    @property
    def unconsumed_tail(self) -> bytes: ...

    def copy(self) -> _GzipMember: ...
    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes: ...


def _first_beyond_zeros(file: IO[bytes]) -> bytes:
    while block := file.read(_READ_BYTES):
        if rest := block.lstrip(b"\0"):
            return rest
    return b""


def _inflate(member: _GzipMember, block: bytes) -> Iterator[bytes]:
    """Decompress the part of a gzip member in `block`.

    zlib withholds the output of a damaged block that precedes the damage. Such a block is therefore decompressed again
    byte by byte, from a copy of the state before it.
    """
    while block and not member.eof:
        before = member.copy()
        try:
            output = member.decompress(block, _OUTPUT_BYTES)
        except zlib.error as error:
            yield _inflate_to_damage(before, block)
            raise BrokenStreamError(ReadError.CORRUPT_FILE, f"damaged gzip data: {error}") from error
        block = member.unconsumed_tail
        if output:
            yield output


def _inflate_to_damage(member: _GzipMember, block: bytes) -> bytes:
    output: list[bytes] = []
    for place in range(len(block)):
        try:
            output.append(member.decompress(block[place : place + 1]))
        except zlib.error:
            break
    return b"".join(output)


class _Decompressor(Protocol):
    """`lzma.LZMADecompressor` and `bz2.BZ2Decompressor`."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def unxz(file: IO[bytes]) -> Iterator[bytes]:
    """An xz file of one or more streams, with zeros as padding behind each (the .xz file format, 1.2)."""

    def decompressor() -> _Decompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)

    return _streams(file, "xz", _XZ, decompressor, padding=b"\0")


def bunzip2(file: IO[bytes]) -> Iterator[bytes]:
    """A bzip2 file of one or more streams."""
    return _streams(file, "bzip2", _BZIP2, bz2.BZ2Decompressor, padding=b"")


def _streams(
    file: IO[bytes], name: str, magic: bytes, decompressor: Callable[[], _Decompressor], padding: bytes
) -> Iterator[bytes]:
    """The content of streams one behind the other, which all begin with `magic`."""
    block = file.read(_READ_BYTES)
    if not (block.startswith(magic) or magic.startswith(block)):
        raise _wrong_format(block, name)
    while block:
        stream = decompressor()
        yield from _until_end(stream, file, block, name)
        block = stream.unused_data.lstrip(padding) if padding else stream.unused_data
        while not block and (more := file.read(_READ_BYTES)):
            block = more.lstrip(padding) if padding else more
        block += file.read(max(0, len(magic) - len(block)))
        if block and not (block.startswith(magic) or magic.startswith(block)):
            raise BrokenStreamError(ReadError.CORRUPT_FILE, f"what follows the end of {name} data is none")


def _until_end(stream: _Decompressor, file: IO[bytes], block: bytes, name: str) -> Iterator[bytes]:
    while not stream.eof:
        try:
            output = stream.decompress(block, _CAREFUL_BYTES)
        except lzma.LZMAError as error:
            raise _lzma_problem(error) from error
        except (OSError, EOFError, ValueError) as error:
            raise BrokenStreamError(ReadError.CORRUPT_FILE, f"damaged {name} data: {error}") from error
        if output:
            yield output
        block = file.read(_READ_BYTES) if stream.needs_input and not stream.eof else b""
        if not block and stream.needs_input and not stream.eof:
            raise BrokenStreamError(ReadError.TRUNCATED_FILE, f"the file ends inside {name} data")


def _lzma_problem(error: lzma.LZMAError) -> BrokenStreamError:
    if "Memory usage limit" in str(error):
        detail = f"the xz dictionary takes over {_XZ_MEMORY:,} bytes: compress with `xz -9` or less"
        return BrokenStreamError(ReadError.TOO_LARGE, detail)
    return BrokenStreamError(ReadError.CORRUPT_FILE, f"damaged xz data: {error}")


def unzstd(file: IO[bytes]) -> Iterator[bytes]:
    """A Zstandard file of one or more frames, skippable ones included (RFC 8878).

    The library neither reports a frame that is cut short nor gives what precedes damage, and hands out any amount
    for a few bytes; so frames are taken apart here and decompressed block by block (at most 128 KiB each). Windows
    of up to 2 GiB (`zstd --long=31`) are read: a frame takes that much memory only if it says it needs it.
    Damage inside a frame written without a checksum (the zstd tool writes one) may go unseen by any reader.
    """
    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 31)
    magic = file.read(4)
    if not (_ZSTD.startswith(magic) or magic == _ZSTD or _is_skippable(magic)):
        raise _wrong_format(magic, "Zstandard")
    while magic:
        if magic == _ZSTD:
            yield from _frame(file, decompressor.decompressobj())
        elif _is_skippable(magic):
            _skip(file, int.from_bytes(_exactly(file, 4), "little"))
        elif _ZSTD.startswith(magic):
            raise _cut_frame()
        else:
            raise BrokenStreamError(ReadError.CORRUPT_FILE, "what follows the end of a Zstandard frame is no frame")
        magic = file.read(4)


def _is_skippable(magic: bytes) -> bool:
    return len(magic) == 4 and magic[0] & 0xF0 == 0x50 and magic[1:] == b"\x2a\x4d\x18"


def _frame(file: IO[bytes], frame: zstandard.ZstdDecompressionObj) -> Iterator[bytes]:
    """The blocks of one frame, whose magic number has been read."""
    descriptor = _exactly(file, 1)
    _decompress(frame, _ZSTD + descriptor + _exactly(file, _header_bytes(descriptor[0])))
    last = False
    while not last:
        head = _exactly(file, 3)
        bits = int.from_bytes(head, "little")
        last, kind, size = bool(bits & 1), bits >> 1 & 3, bits >> 3
        length = 1 if kind == 1 else size
        body = file.read(length)
        if output := _decompress(frame, head + body):
            yield output
        if len(body) < length:
            raise _cut_frame()
    if descriptor[0] >> 2 & 1:
        _decompress(frame, _exactly(file, 4))
    if not frame.eof:
        raise BrokenStreamError(
            ReadError.CORRUPT_FILE, "damaged Zstandard data: a frame has no end after its last block"
        )


def _header_bytes(descriptor: int) -> int:
    """Length of a frame header behind its descriptor: window, dictionary id and content size (RFC 8878, 3.1.1.1)."""
    single_segment = descriptor >> 5 & 1
    content_size = (single_segment, 2, 4, 8)[descriptor >> 6]
    return 1 - single_segment + (0, 1, 2, 4)[descriptor & 3] + content_size


def _decompress(frame: zstandard.ZstdDecompressionObj, data: bytes) -> bytes:
    try:
        return frame.decompress(data)
    except zstandard.ZstdError as error:
        raise BrokenStreamError(ReadError.CORRUPT_FILE, f"damaged Zstandard data: {error}") from error


def _exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise _cut_frame()
    return data


def _skip(file: IO[bytes], size: int) -> None:
    while size:
        size -= len(_exactly(file, min(size, _READ_BYTES)))


def _cut_frame() -> BrokenStreamError:
    return BrokenStreamError(ReadError.TRUNCATED_FILE, "the file ends inside a Zstandard frame")


STREAMS: dict[str, Stream] = {"": plain, GZIP: gunzip, ZSTANDARD: unzstd, XZ: unxz, BZIP2: bunzip2}
"""The stream for each suffix of a compression, and for none."""
