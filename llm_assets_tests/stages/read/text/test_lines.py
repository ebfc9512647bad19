from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.stages.read.records import BrokenStreamError, ReadError
from llm_assets.stages.read.text import lines as lines_module
from llm_assets.stages.read.text.lines import lines_of

BLOCKS = st.lists(st.binary(max_size=9) | st.sampled_from([b"\n", b"\r", b"\r\n", b"\xef\xbb\xbf"]), max_size=12)


def pieces(data: bytes, any_end: bool) -> list[tuple[bytes, bytes]]:
    """Oracle: the lines and their ends, by splitting the whole at once."""
    parts = re.split(rb"(\r\n|\r|\n)" if any_end else rb"(\n)", data)
    found = list(zip(parts[::2], [*parts[1::2], b""], strict=True))
    return found if found[-1][0] else found[:-1]


@given(BLOCKS, st.booleans())
def test_lines_do_not_depend_on_where_blocks_end(blocks: list[bytes], any_end: bool) -> None:
    data = b"".join(blocks)
    lines = list(lines_of(blocks, any_end))
    mark = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    expected = pieces(data, any_end)
    if mark and expected:
        expected[0] = (expected[0][0][3:], expected[0][1])
    assert [(line.data, line.end) for line in lines] == expected
    assert [line.number for line in lines] == list(range(1, len(lines) + 1))
    assert b"".join(line.data + line.end for line in lines) == data[mark:]
    assert all(data[line.offset :].startswith(line.data + line.end) and line.is_whole for line in lines)


@given(st.binary(max_size=60), st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_of_a_line_over_the_limit_its_beginning_and_its_size_are_known(
    data: bytes, limit: int, step: int, any_end: bool
) -> None:
    blocks = [data[start : start + step] for start in range(0, len(data), step)]
    with pytest.MonkeyPatch.context() as patch:
        whole = list(lines_of(blocks, any_end))
        patch.setattr(lines_module, "RECORD_LIMIT", limit)
        for line, full in zip(lines_of(blocks, any_end), whole, strict=True):
            assert (line.offset, line.size, line.end) == (full.offset, full.size, full.end)
            assert full.data.startswith(line.data) and len(line.data) >= min(limit, full.size)
            assert len(line.data) <= max(limit, step)


@pytest.mark.parametrize("any_end", [False, True])
def test_a_break_hands_over_what_follows_the_last_line_end(any_end: bool) -> None:
    def blocks() -> Any:
        yield b"one\ntw"
        yield b"o\nthr"
        yield b"ee\r"
        raise BrokenStreamError(ReadError.CORRUPT_FILE, "here")

    lines = lines_of(blocks(), any_end)
    assert [next(lines).data, next(lines).data] == [b"one", b"two"]
    with pytest.raises(BrokenStreamError) as raised:
        next(lines)
    assert (raised.value.error, raised.value.pending) == (ReadError.CORRUPT_FILE, b"three\r")
