"""A hash table of a few short words, for kernels that ask it about very many.

Guarantees to tell every entry from all that is none. What the entries mean is `punctuation`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from llm_assets.kernels.hashing import mix, word_at
from llm_assets.kernels.kernel import kernel

LONGEST_ENTRY: Final = 16
"""Bytes of an entry."""

# What an entry is, above the bits of its cuts.
EXCEPTION: Final = 1 << 16
UNIT: Final = 1 << 17
JOINED: Final = 1 << 18
CUTS: Final = (1 << 16) - 1
SIZE_SHIFT: Final = 20
_SIEVE: Final = 1024

_Bytes = npt.NDArray[np.uint8]
Lexicon = npt.NDArray[np.uint64]


def lexicon(entries: Mapping[bytes, int]) -> Lexicon:
    """A hash table of entries and what they are: `EXCEPTION`, `UNIT` and `JOINED`, and their cuts.

    Bit b of the cuts, the lowest 16 bits, is set where a word begins at byte b of an exception. The table is
    uint64[_SIEVE + 3 * slots]: bits that say by size, first and last byte that there is no such entry, then for each
    slot the bytes of an entry, in two, and what it is together with its size. Raises ValueError for an entry that is
    empty or too long.
    """
    slots = 1 << (3 * len(entries)).bit_length()
    table = np.zeros(_SIEVE + 3 * slots, np.uint64)
    for entry, kind in entries.items():
        if not 0 < len(entry) <= LONGEST_ENTRY:
            raise ValueError(f"{entry!r} has {len(entry)} bytes: an entry has 1 to {LONGEST_ENTRY}")
        text = np.frombuffer(entry, np.uint8)
        low, high = map(np.uint64, key_of(text, 0, len(entry)))
        slot = int(_slot(low, high, table))
        while table[slot + 2]:
            slot = slot + 3 if slot + 3 < len(table) else _SIEVE
        table[slot : slot + 3] = low, high, kind | len(entry) << SIZE_SHIFT
        place, bit = _sieve(len(entry), entry[0], entry[-1])
        table[place] |= np.uint64(1 << bit)
    return table


@kernel(counted=False)
def _sieve(size: int, first: int, last: int) -> tuple[np.int64, np.int64]:
    return (np.int64(first) << 2 | size & 3) & (_SIEVE - 1), (np.int64(last) + (size >> 2) * 29) & 63


@kernel(counted=False)
def key_of(text: _Bytes, start: int, size: int) -> tuple[np.uint64, np.uint64]:
    """The bytes of `text[start:start + size]`, 1 to 16, in two."""
    low = word_at(text, start, min(size, 8))
    return low, word_at(text, start + 8, size - 8) if size > 8 else np.uint64(0)


@kernel(counted=False)
def _slot(low: np.uint64, high: np.uint64, lexicon: Lexicon) -> np.int64:
    slots = np.uint64((len(lexicon) - _SIEVE) // 3)
    return _SIEVE + np.int64(mix(low ^ mix(high)) & (slots - np.uint64(1))) * 3


@kernel(counted=False)
def find(text: _Bytes, start: int, end: int, lexicon: Lexicon) -> int:
    """The packed cuts and size of the entry `text[start:end]`; 0 if it is not in the lexicon."""
    size = end - start
    if size > LONGEST_ENTRY:
        return 0
    place, bit = _sieve(size, text[start], text[end - 1])
    if not (lexicon[place] >> np.uint64(bit)) & np.uint64(1):
        return 0
    low, high = key_of(text, start, size)
    slot = _slot(low, high, lexicon)
    while lexicon[slot + 2]:
        kind = np.int64(lexicon[slot + 2])
        if lexicon[slot] == low and lexicon[slot + 1] == high and kind >> SIZE_SHIFT == size:
            return int(kind)
        slot = slot + 3 if slot + 3 < len(lexicon) else _SIEVE
    return 0
