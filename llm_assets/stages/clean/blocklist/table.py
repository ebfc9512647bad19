"""A set of byte strings, numbered, that a kernel looks up by hash and confirms byte by byte.

Guarantees exact answers at a cost that does not depend on how many strings there are: a bit map in the processor's
cache says no to nearly all strings that are not in the set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from llm_assets.kernels.kernel import kernel

NOT_FOUND: Final = -1

_BITS_PER_ENTRY: Final = 16

# The offset basis and the prime of FNV-1a, 64 bits, and 2**64 divided by the golden ratio.
_START: Final = np.uint64(0xCBF29CE484222325)
_PRIME: Final = np.uint64(0x100000001B3)
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_HALF: Final = np.uint64(32)
_SIX: Final = np.uint64(6)
_LOW_SIX: Final = np.uint64(63)
_ONE: Final = np.uint64(1)

_Bytes = npt.NDArray[np.uint8]


class Table(NamedTuple):
    """String n, with tag `tags[n]` (int64), is `data[starts[n]:starts[n + 1]]` (uint8, int64).

    `slots` (int32[a power of two], -1: free) has its number from where its hash, `keys[n]` (uint64), points on;
    `bits` (uint64) has a bit for every hash in the table. `longest` is the size of the longest string.
    """

    bits: npt.NDArray[np.uint64]
    slots: npt.NDArray[np.int32]
    keys: npt.NDArray[np.uint64]
    tags: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    data: _Bytes
    longest: int


def build_table(strings: Sequence[bytes], tags: Sequence[int] | None = None) -> Table:
    """The table of these strings, number n the n-th; those of one tag (all 0 where none are given) are distinct."""
    sizes = np.array([len(string) for string in strings], np.int64)
    table = Table(
        bits=np.zeros(max(_power_above(len(strings) * _BITS_PER_ENTRY) // 64, 1), np.uint64),
        slots=np.full(_power_above(2 * len(strings)), NOT_FOUND, np.int32),
        keys=np.zeros(len(strings), np.uint64),
        tags=np.array(tags, np.int64) if tags is not None else np.zeros(len(strings), np.int64),
        starts=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        data=np.frombuffer(b"".join(strings), np.uint8),
        longest=int(sizes.max(initial=0)),
    )
    _fill(table)
    return table


def _power_above(number: int) -> int:
    return 1 << number.bit_length()


@kernel
def _fill(table: Table) -> None:
    for number in range(len(table.keys)):
        key = start_of(table.tags[number])
        for byte in table.data[table.starts[number] : table.starts[number + 1]]:
            key = add_byte(key, byte)
        table.keys[number] = key
        bit = pick(key >> _HALF, len(table.bits) * 64)
        table.bits[bit >> _SIX] |= _ONE << (bit & _LOW_SIX)
        slot = pick(key, len(table.slots))
        while table.slots[slot] != NOT_FOUND:
            slot = (slot + _ONE) & np.uint64(len(table.slots) - 1)
        table.slots[slot] = number


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
def may_have(bits: npt.NDArray[np.uint64], key: np.uint64) -> bool:
    """Whether a string with this hash may be in the table with these bits: always if it is, seldom if not."""
    bit = pick(key >> _HALF, len(bits) * 64)
    return (bits[bit >> _SIX] >> (bit & _LOW_SIX)) & _ONE != 0


@kernel
def find(
    slots: npt.NDArray[np.int32],
    keys: npt.NDArray[np.uint64],
    tags: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    data: _Bytes,
    key: np.uint64,
    tag: int,
    text: _Bytes,
    start: int,
    size: int,
) -> int:
    """The number of the string `text[start:start + size]`, whose hash is `key`, or -1; ask `may_have` first.

    The arrays are those of a `Table`: to pass the tuple on would count references for every look-up.
    """
    slot = pick(key, len(slots))
    while slots[slot] != NOT_FOUND:
        number = slots[slot]
        first = starts[number]
        if keys[number] == key and tags[number] == tag and starts[number + 1] - first == size:
            different = 0
            for byte in range(size):
                different += data[first + byte] != text[start + byte]
            if different == 0:
                return int(number)
        slot = (slot + _ONE) & np.uint64(len(slots) - 1)
    return NOT_FOUND
