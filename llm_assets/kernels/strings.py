"""Sets of byte strings, numbered, that a kernel looks up by hash and confirms byte by byte.

Guarantees exact answers at a cost that does not depend on how many strings there are: a bit map in the processor's
cache says no to nearly all strings that are not in the set. Which hash it is, is up to whoever makes the set:
`start_of` and `add_byte` are one that grows byte by byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from llm_assets.kernels.kernel import kernel

NOT_FOUND: Final = -1

_BITS_PER_STRING: Final = 16

# The offset basis and the prime of FNV-1a, 64 bits, and 2**64 divided by the golden ratio.
_START: Final = np.uint64(0xCBF29CE484222325)
_PRIME: Final = np.uint64(0x100000001B3)
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_HALF: Final = np.uint64(32)
_SIX: Final = np.uint64(6)
_LOW_SIX: Final = np.uint64(63)
_ONE: Final = np.uint64(1)

_Bytes = npt.NDArray[np.uint8]
_Integers = npt.NDArray[np.int64]
_Hashes = npt.NDArray[np.uint64]


class Strings(NamedTuple):
    """String n, with tag `tags[n]` (int64), is `data[starts[n]:starts[n + 1]]` (uint8, int64).

    `slots` (int32[a power of two], -1: free) has its number from where its hash, `hashes[n]` (uint64), points on;
    `bits` (uint64) has a bit for every hash in the set. `longest` is the size of the longest string.
    """

    bits: _Hashes
    slots: npt.NDArray[np.int32]
    hashes: _Hashes
    tags: _Integers
    starts: _Integers
    data: _Bytes
    longest: int


def build_strings(
    strings: Sequence[bytes], tags: Sequence[int] | None = None, hashes: _Hashes | None = None
) -> Strings:
    """The set of these strings, number n the n-th; those of one tag (all 0 where none are given) are distinct.

    `hashes` (uint64[strings]) are those of a hash of one's own, else of `start_of` and `add_byte`.
    """
    sizes = np.array([len(string) for string in strings], np.int64)
    given = hashes is not None
    found = Strings(
        bits=np.zeros(max(_power_above(len(strings) * _BITS_PER_STRING) // 64, 1), np.uint64),
        slots=np.full(_power_above(2 * len(strings)), NOT_FOUND, np.int32),
        hashes=hashes if hashes is not None else np.zeros(len(strings), np.uint64),
        tags=np.array(tags, np.int64) if tags is not None else np.zeros(len(strings), np.int64),
        starts=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        data=np.frombuffer(b"".join(strings), np.uint8),
        longest=int(sizes.max(initial=0)),
    )
    if not given:
        _hash(found)
    _fill(found)
    return found


def _power_above(number: int) -> int:
    return 1 << number.bit_length()


@kernel
def _hash(strings: Strings) -> None:
    for number in range(len(strings.hashes)):
        key = start_of(strings.tags[number])
        for byte in strings.data[strings.starts[number] : strings.starts[number + 1]]:
            key = add_byte(key, byte)
        strings.hashes[number] = key


@kernel
def _fill(strings: Strings) -> None:
    for number in range(len(strings.hashes)):
        key = strings.hashes[number]
        bit = pick(key >> _HALF, len(strings.bits) * 64)
        strings.bits[bit >> _SIX] |= _ONE << (bit & _LOW_SIX)
        slot = pick(key, len(strings.slots))
        while strings.slots[slot] != NOT_FOUND:
            slot = (slot + _ONE) & np.uint64(len(strings.slots) - 1)
        strings.slots[slot] = number


@kernel(inline="always")
def start_of(tag: int) -> np.uint64:
    """The hash of no byte yet, for strings with that tag."""
    return _START ^ (np.uint64(tag) * _GOLDEN)


@kernel(inline="always")
def add_byte(key: np.uint64, byte: np.uint8) -> np.uint64:
    """The hash of one byte more."""
    return (key ^ np.uint64(byte)) * _PRIME


@kernel(inline="always")
def pick(key: np.uint64, size: int) -> np.uint64:
    """A number below `size`, a power of two up to 2**32, that depends on all bits of the key."""
    return ((key ^ (key >> _HALF)) * _GOLDEN >> _HALF) & np.uint64(size - 1)


@kernel(inline="always")
def may_have(bits: _Hashes, key: np.uint64) -> bool:
    """Whether a string with this hash may be in the set with these bits: always if it is, seldom if not."""
    bit = pick(key >> _HALF, len(bits) * 64)
    return (bits[bit >> _SIX] >> (bit & _LOW_SIX)) & _ONE != 0


@kernel(counted=False)
def find(strings: Strings, key: np.uint64, tag: int, text: _Bytes, start: int, size: int) -> int:
    """The number of the string `text[start:start + size]`, whose hash is `key`, or -1; ask `may_have` first."""
    slot = pick(key, len(strings.slots))
    while strings.slots[slot] != NOT_FOUND:
        number = strings.slots[slot]
        first = strings.starts[number]
        if strings.hashes[number] == key and strings.tags[number] == tag and strings.starts[number + 1] - first == size:
            matching = 0
            while matching < size and strings.data[first + matching] == text[start + matching]:
                matching += 1
            if matching == size:
                return int(number)
        slot = (slot + _ONE) & np.uint64(len(strings.slots) - 1)
    return NOT_FOUND
