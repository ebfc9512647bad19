from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.stages.read.layers import compression as streams
from llm_assets.stages.read.layers.compression import Stream, bunzip2, gunzip, plain, unxz, unzstd
from llm_assets.stages.read.records import BrokenStreamError, ReadError, UnreadableFileError

Compress = Callable[[bytes], bytes]
Outcome = tuple[bytes, ReadError | None]


def drain(stream: Stream, data: bytes, read_bytes: int = 1 << 18, output_bytes: int = 1 << 20) -> Outcome:
    """All that a stream delivers, and the error it ends with."""
    delivered: list[bytes] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "_READ_BYTES", read_bytes)
        patch.setattr(streams, "_OUTPUT_BYTES", output_bytes)
        try:
            delivered.extend(stream(io.BytesIO(data)))
        except BrokenStreamError as broken:
            return b"".join(delivered), broken.error
    return b"".join(delivered), None


def zstd_frame(data: bytes, checksum: bool = True, content_size: bool = True, level: int = 3) -> bytes:
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=checksum, write_content_size=content_size)
    return compressor.compress(data)


def zstd_streamed(data: bytes) -> bytes:
    """A frame of unknown size with many small blocks."""
    compressor = zstandard.ZstdCompressor().compressobj()
    parts = [
        compressor.compress(data[start : start + 97]) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        for start in range(0, len(data), 97)
    ]
    return b"".join(parts) + compressor.flush()


def skippable(content: bytes, kind: int = 0) -> bytes:
    return bytes([0x50 + kind]) + b"\x2a\x4d\x18" + len(content).to_bytes(4, "little") + content


def gunzipped_prefix(data: bytes) -> Outcome:
    """Oracle: all at once, member by member, what zlib can give."""
    output = b""
    while data:
        member = zlib.decompressobj(wbits=31)
        output += member.decompress(data) + member.flush()
        if not member.eof:
            return output, ReadError.TRUNCATED_FILE
        data = member.unused_data
    return output, None


DATA = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda unit, times: unit * times, st.binary(min_size=1, max_size=8), st.integers(0, 5000)),
)
SIZES = st.sampled_from([1, 2, 3, 7, 64, 1 << 18])


@given(st.lists(DATA, min_size=1, max_size=3), SIZES, SIZES, st.integers(0, 9), st.integers(0, 3))
def test_gzip_members_come_out_whole(
    members: list[bytes], read_bytes: int, output_bytes: int, level: int, padding: int
) -> None:
    data = b"".join(gzip.compress(member, level, mtime=0) for member in members) + b"\0" * padding
    assert drain(gunzip, data, read_bytes, output_bytes) == (b"".join(members), None)


@given(st.lists(DATA, min_size=1, max_size=2), SIZES, SIZES, st.data())
def test_a_cut_gzip_file_gives_all_that_precedes_the_cut(
    members: list[bytes], read_bytes: int, output_bytes: int, draw: st.DataObject
) -> None:
    whole = b"".join(gzip.compress(member, mtime=0) for member in members)
    cut = whole[: draw.draw(st.integers(1, len(whole)))]
    assert drain(gunzip, cut, read_bytes, output_bytes) == gunzipped_prefix(cut)


@given(st.lists(DATA, min_size=1, max_size=3), st.booleans(), st.booleans(), st.integers(1, 12))
def test_zstandard_frames_come_out_whole(frames: list[bytes], checksum: bool, size: bool, level: int) -> None:
    data = b"".join(zstd_frame(frame, checksum, size, level) for frame in frames)
    assert drain(unzstd, data) == (b"".join(frames), None)


@given(DATA, st.sampled_from([zstd_frame, zstd_streamed]), st.data())
def test_a_cut_zstandard_file_gives_all_whole_blocks_and_an_error(
    content: bytes, compress: Compress, draw: st.DataObject
) -> None:
    whole = compress(content)
    cut = whole[: draw.draw(st.integers(1, len(whole) - 1))]
    expected = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(cut)).read()
    assert drain(unzstd, cut) == (expected, ReadError.TRUNCATED_FILE)


def test_large_zstandard_blocks_of_every_kind() -> None:
    noise = random.Random(7).randbytes(700_000)
    data = noise + b"\0" * 700_000 + b"some words " * 70_000
    assert drain(unzstd, zstd_frame(data)) == (data, None)
    assert drain(unzstd, zstandard.ZstdCompressor(threads=2).compress(data)) == (data, None)


def test_skippable_frames_are_skipped_and_may_be_cut() -> None:
    data = skippable(b"index") + zstd_frame(b"one") + skippable(b"x" * 5000, 15) + zstd_frame(b"two") + skippable(b"")
    assert drain(unzstd, data) == (b"onetwo", None)
    assert drain(unzstd, data[:-3]) == (b"onetwo", ReadError.TRUNCATED_FILE)
    assert drain(unzstd, skippable(b"index")[:-1]) == (b"", ReadError.TRUNCATED_FILE)


def test_a_window_wider_than_the_default_is_read() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=28, write_content_size=False)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    data = compressor.compress(b"long window") + compressor.flush()
    assert drain(unzstd, data) == (b"long window", None)


def test_damage_in_gzip_gives_all_that_precedes_it() -> None:
    generator = random.Random(1)
    lines = b"".join(b"%d words of line %d\n" % (generator.randrange(10**9), number) for number in range(20_000))
    whole = bytearray(gzip.compress(lines, mtime=0))
    middle = len(whole) // 2
    whole[middle : middle + 64] = b"\xff" * 64
    output, error = drain(gunzip, bytes(whole))
    assert error is ReadError.CORRUPT_FILE
    undamaged = zlib.decompressobj(wbits=31).decompress(bytes(whole[:middle]))
    assert len(undamaged) > len(lines) // 3
    assert output.startswith(undamaged[:-300])


def test_damage_in_zstandard_gives_the_blocks_before_it() -> None:
    content = random.Random(2).randbytes(300) * 40
    data = bytearray(zstd_streamed(content))
    data[len(data) // 2] ^= 0xFF
    output, error = drain(unzstd, bytes(data))
    assert error is ReadError.CORRUPT_FILE
    assert 97 <= len(output) < len(content)
    assert output[:97] == content[:97]


@pytest.mark.parametrize(
    ("stream", "data", "delivered"),
    [
        (gunzip, gzip.compress(b"text", mtime=0)[:-8] + b"\0" * 8, b"text"),
        (unzstd, zstd_frame(b"text")[:-4] + b"\0" * 4, b"text"),
        (gunzip, gzip.compress(b"text", mtime=0) + b"trailing", b"text"),
        (gunzip, gzip.compress(b"text", mtime=0) + b"\0\0trailing", b"text"),
        (unzstd, zstd_frame(b"text") + b"trailing", b"text"),
        (unzstd, zstd_frame(b"text") + b"\0", b"text"),
        (unzstd, zstd_frame(b"")[:4] + b"\x08\0", b""),
    ],
    ids=["gzip sum", "zstd sum", "gzip tail", "gzip padded tail", "zstd tail", "zstd zero tail", "zstd reserved bit"],
)
def test_false_sums_and_foreign_tails_are_corrupt(stream: Stream, data: bytes, delivered: bytes) -> None:
    assert drain(stream, data) == (delivered, ReadError.CORRUPT_FILE)


@pytest.mark.parametrize("stream", [gunzip, unzstd])
@pytest.mark.parametrize("data", [b"plain text", b"{", b"BZh91AY&SY", b"PAR1\x15\x04", b"\0" * 30])
def test_what_is_not_compressed_that_way_is_the_wrong_format(stream: Stream, data: bytes) -> None:
    with pytest.raises(UnreadableFileError) as raised:
        list(stream(io.BytesIO(data)))
    assert raised.value.error is ReadError.WRONG_FORMAT


@pytest.mark.parametrize(
    ("stream", "data", "message"),
    [
        (plain, gzip.compress(b"x", mtime=0), "not plain text: it starts like gzip"),
        (plain, zstd_frame(b"x"), "not plain text: it starts like Zstandard"),
        (gunzip, zstd_frame(b"x"), "not gzip: it starts like Zstandard"),
        (unzstd, gzip.compress(b"x", mtime=0), "not Zstandard: it starts like gzip"),
        (gunzip, b"text", "not gzip: it starts with the bytes 74 65 78 74"),
    ],
)
def test_the_wrong_format_is_named(stream: Stream, data: bytes, message: str) -> None:
    with pytest.raises(UnreadableFileError) as raised:
        list(stream(io.BytesIO(data)))
    assert raised.value.detail == message


def test_a_text_about_par1_is_a_text() -> None:
    assert drain(plain, b"PAR1 is a receptor") == (b"PAR1 is a receptor", None)


@pytest.mark.parametrize(("stream", "compress"), [(gunzip, gzip.compress), (unzstd, zstd_frame)])
def test_blocks_stay_small_however_well_the_data_compress(stream: Stream, compress: Compress) -> None:
    sizes = [len(block) for block in stream(io.BytesIO(compress(b"\0" * (64 << 20))))]
    assert sum(sizes) == 64 << 20
    assert max(sizes) <= 1 << 20


@given(st.binary(max_size=200), st.sampled_from([gunzip, unzstd]))
def test_any_bytes_behind_a_true_start_end_in_a_declared_error(noise: bytes, stream: Stream) -> None:
    start = b"\x1f\x8b\x08\0" if stream is gunzip else b"\x28\xb5\x2f\xfd"
    drain(stream, start + noise)


STREAMED: dict[str, tuple[Compress, Stream, ReadError]] = {
    "xz": (lzma.compress, unxz, ReadError.CORRUPT_FILE),
    "bzip2": (bz2.compress, bunzip2, ReadError.CORRUPT_FILE),
}


@pytest.mark.parametrize("kind", STREAMED)
@given(st.lists(DATA, min_size=1, max_size=3), SIZES)
def test_streams_of_xz_and_bzip2_come_out_whole(kind: str, parts: list[bytes], read_bytes: int) -> None:
    compress, stream, _ = STREAMED[kind]
    padding = b"\0" * 4 if kind == "xz" else b""
    data = b"".join(compress(part) + padding for part in parts)
    assert drain(stream, data, read_bytes) == (b"".join(parts), None)


@pytest.mark.parametrize("kind", STREAMED)
@given(DATA, st.data())
def test_a_cut_xz_or_bzip2_file_gives_all_that_the_library_gives_and_an_error(
    kind: str, content: bytes, draw: st.DataObject
) -> None:
    compress, stream, _ = STREAMED[kind]
    whole = compress(content)
    cut = whole[: draw.draw(st.integers(1, len(whole) - 1))]
    library = lzma.LZMADecompressor() if kind == "xz" else bz2.BZ2Decompressor()
    assert drain(stream, cut) == (library.decompress(cut), ReadError.TRUNCATED_FILE)


@pytest.mark.parametrize("kind", STREAMED)
def test_damage_in_xz_or_bzip2_is_told_of_behind_what_came_before(kind: str) -> None:
    compress, stream, error = STREAMED[kind]
    content = random.Random(3).randbytes(1_500_000).hex().encode()
    data = bytearray(compress(content))
    middle = len(data) // 2
    data[middle : middle + 16] = b"\xff" * 16
    delivered, found = drain(stream, bytes(data))
    assert found is error
    assert len(delivered) > len(content) // 4 and delivered[: len(content) // 4] == content[: len(content) // 4]


@pytest.mark.parametrize("kind", STREAMED)
def test_what_follows_a_stream_must_be_one(kind: str) -> None:
    compress, stream, error = STREAMED[kind]
    assert drain(stream, compress(b"one") + b"garbage") == (b"one", error)


@pytest.mark.parametrize("kind", STREAMED)
def test_another_format_under_the_name_of_xz_or_bzip2(kind: str) -> None:
    with pytest.raises(UnreadableFileError) as raised:
        list(STREAMED[kind][1](io.BytesIO(b"plain text")))
    assert raised.value.error is ReadError.WRONG_FORMAT


def test_an_xz_file_that_asks_for_too_much_memory_is_too_large() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 29}]
    data = lzma.compress(b"one", lzma.FORMAT_XZ, filters=filters)
    assert drain(unxz, data) == (b"", ReadError.TOO_LARGE)
