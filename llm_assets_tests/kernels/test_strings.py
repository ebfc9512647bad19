"""A set of strings says of every string what a dictionary says, whatever the hash."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from llm_assets.kernels.strings import NOT_FOUND, Strings, add_byte, build_strings, find, may_have, start_of

_string = st.binary(max_size=12) | st.text(max_size=4).map(str.encode)
_tagged = st.lists(st.tuples(_string, st.integers(0, 3)), unique=True, max_size=40)


def _hash(string: bytes, tag: int) -> np.uint64:
    key = start_of(tag)
    for byte in string:
        key = add_byte(np.uint64(key), np.uint8(byte))
    return np.uint64(key)


def _find(strings: Strings, string: bytes, tag: int, key: np.uint64) -> int:
    text = np.frombuffer(b"<" + string + b">", np.uint8)
    number = find(strings, key, tag, text, 1, len(string))
    assert number == NOT_FOUND or may_have(strings.bits, key)
    return number


@given(_tagged, st.lists(st.tuples(_string, st.integers(0, 3))))
@example([], [(b"", 0)])
@example([("中".encode(), 0), (b"", 0), (b"", 1), (b"a\r\n", 2)], [("é".encode(), 0), (b"a\n", 2)])
def test_every_string_has_its_number_and_no_other_has_one(
    entries: list[tuple[bytes, int]], others: list[tuple[bytes, int]]
) -> None:
    strings = build_strings([string for string, _ in entries], [tag for _, tag in entries])
    numbers = {entry: number for number, entry in enumerate(entries)}
    for string, tag in [*entries, *others]:
        assert _find(strings, string, tag, _hash(string, tag)) == numbers.get((string, tag), NOT_FOUND)
    assert strings.longest == max((len(string) for string, _ in entries), default=0)


@given(st.lists(_string, unique=True, max_size=40), st.lists(_string), st.integers(0, 2**64 - 1))
def test_a_hash_that_tells_nothing_apart_is_no_obstacle(entries: list[bytes], others: list[bytes], key: int) -> None:
    strings = build_strings(entries, hashes=np.full(len(entries), key, np.uint64))
    for string in [*entries, *others]:
        expected = entries.index(string) if string in entries else NOT_FOUND
        assert _find(strings, string, 0, np.uint64(key)) == expected


def test_few_strings_outside_the_set_may_be_in_it() -> None:
    strings = build_strings([f"entry {number}".encode() for number in range(2_000)])
    passed = sum(bool(may_have(strings.bits, _hash(f"other {number}".encode(), 0))) for number in range(2_000))
    assert passed < 2_000 / 8
