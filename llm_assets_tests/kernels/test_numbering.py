"""Numbers are those of a dictionary that is filled in the same order."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from llm_assets.kernels.numbering import find_key, number_key, number_stretch, table_size

_keys = st.lists(st.integers(0, 9) | st.integers(0, 2**64 - 1), max_size=60)


@given(st.integers(0, 10**6))
def test_tables_are_powers_of_two_and_at_most_half_full(entries: int) -> None:
    size = table_size(entries)
    assert size & (size - 1) == 0
    assert 2 * entries <= size <= max(16, 4 * entries)


@given(_keys, _keys)
@example([0, 2**64 - 1, 0], [1])
def test_keys(given: list[int], others: list[int]) -> None:
    size = table_size(len(given))
    keys, slots = np.zeros(len(given), np.uint64), np.zeros(size, np.int32)
    numbers: dict[int, int] = {}
    for key in given:
        number = number_key(np.uint64(key), len(numbers), keys, slots, size)
        assert number == numbers.setdefault(key, len(numbers))
    for key in [*given, *others]:
        assert find_key(np.uint64(key), keys, slots, size) == numbers.get(key, -1)


@given(st.lists(st.text(max_size=3) | st.text("ab", min_size=7, max_size=18) | st.text("é中\r\n", max_size=9)))
def test_stretches(pieces: list[str]) -> None:
    encoded = [piece.encode() for piece in pieces]
    text = np.frombuffer(b"".join(encoded), np.uint8)
    sizes = np.array([len(piece) for piece in encoded], np.int32)
    starts = (np.cumsum(sizes) - sizes).astype(np.int32)
    size = table_size(len(pieces))
    hashes, firsts = np.zeros(len(pieces), np.uint64), np.zeros(len(pieces), np.int32)
    slots = np.zeros(size, np.int32)
    numbers: dict[str, int] = {}
    for stretch, piece in enumerate(pieces):
        number = number_stretch(text, stretch, starts, sizes, len(numbers), hashes, firsts, slots, size)
        assert number == numbers.setdefault(piece, len(numbers))
