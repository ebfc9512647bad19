"""UTF-8 is read as Python's codec reads it."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from llm_assets.kernels.utf8 import code_at, decode, is_digit, start_before

_text = st.text(st.characters(codec="utf-8"))


def _bytes(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


def test_every_code_point() -> None:
    for code in [*range(0, 0x3000), *range(0x3000, 0x110000, 61), 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF]:
        if not 0xD800 <= code < 0xE000:
            data = chr(code).encode()
            assert decode(_bytes(data), 0, len(data)) == (code, len(data))


@given(_text, _text, _text)
@example("", "aé中😀\r\n\u2028", "é")
def test_characters_forwards_and_backwards(before: str, text: str, behind: str) -> None:
    data = _bytes((before + text + behind).encode())
    first, end = len(before.encode()), len((before + text).encode())
    position, codes = first, []
    while position < end:
        code, size = decode(data, position, end)
        assert code_at(data, position, end) == code
        codes.append(code)
        position += size
    assert (position, codes) == (end, [ord(character) for character in text])
    starts = []
    while position > first:
        position = start_before(data, first, position)
        starts.append(position)
    assert starts == [len((before + text[:place]).encode()) for place in reversed(range(len(text)))]


@given(st.binary(min_size=1), st.data())
@example(b"\xff\xff\xff\xff", None)
@example(b"\xf4\x90\x80\x80", None)
@example(b"\x80", None)
def test_other_bytes_have_code_points_too(data: bytes, draw: st.DataObject | None) -> None:
    end = draw.draw(st.integers(1, len(data))) if draw else len(data)
    position = 0
    while position < end:
        code, size = decode(_bytes(data), position, end)
        assert 0 <= code <= 0x10FFFF
        assert 1 <= size <= end - position
        assert start_before(_bytes(data), position, position + size) >= position
        position += size


def test_digits_are_those_of_ascii() -> None:
    assert [code for code in range(0x110000) if is_digit(code)] == [ord(digit) for digit in "0123456789"]
