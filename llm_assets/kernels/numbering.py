"""Hash tables that number what they are given, in the order in which it first comes.

Guarantees exact answers: every key and every stretch of text is told from every other. A table is `slots`, int32[a
power of two], of which the first `table_size` are used: 0 where free, else a number and one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llm_assets.kernels.hashing import hash_bytes, mix, same_bytes
from llm_assets.kernels.kernel import kernel

_Bytes = npt.NDArray[np.uint8]
_Integers = npt.NDArray[np.int32]
_Words = npt.NDArray[np.uint64]


@kernel
def table_size(entries: int) -> int:
    """The size of a table with room for so many entries: a power of two, at most half full."""
    size = 16
    while size < 2 * entries:
        size *= 2
    return size


@kernel(counted=False, inline="always")
def number_key(key: np.uint64, count: int, keys: _Words, slots: _Integers, size: int) -> int:
    """The number of a key; of a new one that is `count`, how many there were, and it is entered.

    `keys` (uint64) has the keys by number, and `slots[:size]` is the table.
    """
    slot = np.int64(mix(key) & np.uint64(size - 1))
    while slots[slot] != 0:
        number = slots[slot] - 1
        if keys[number] == key:
            return int(number)
        slot = (slot + 1) & (size - 1)
    slots[slot] = count + 1
    keys[count] = key
    return count


@kernel(counted=False, inline="always")
def find_key(key: np.uint64, keys: _Words, slots: _Integers, size: int) -> int:
    """The number of a key in such a table, or -1."""
    slot = np.int64(mix(key) & np.uint64(size - 1))
    while slots[slot] != 0:
        number = slots[slot] - 1
        if keys[number] == key:
            return int(number)
        slot = (slot + 1) & (size - 1)
    return -1


@kernel(counted=False, inline="always")
def number_stretch(
    text: _Bytes,
    stretch: int,
    starts: _Integers,
    sizes: _Integers,
    count: int,
    hashes: _Words,
    firsts: _Integers,
    slots: _Integers,
    size: int,
) -> int:
    """The number of stretch `text[starts[stretch]:starts[stretch] + sizes[stretch]]`; of a new one it is `count`.

    `hashes` (uint64) and `firsts` (int32) have by number the hash and the first stretch of those that are equal; the
    table is `slots[:size]`.
    """
    start, length = starts[stretch], sizes[stretch]
    key = hash_bytes(text, start, length)
    slot = np.int64(key & np.uint64(size - 1))
    while slots[slot] != 0:
        number = slots[slot] - 1
        if hashes[number] == key:
            first = int(firsts[number])
            # Up to eight bytes, equal hashes are equal bytes.
            if sizes[first] == length and (length <= 8 or same_bytes(text, starts[first], start, length)):
                return int(number)
        slot = (slot + 1) & (size - 1)
    slots[slot] = count + 1
    hashes[count], firsts[count] = key, stretch
    return count
