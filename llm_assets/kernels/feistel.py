"""Keyed pseudo-random permutations of 0 … size - 1, computed element by element: Feistel networks with cycle walking.

Guarantees a bijection for every network and any even number of keys. Statistical quality, no secrecy. The functions are
plain ones, of Python's integers where a few elements do not call for numba; `kernel` compiles them, and then all
numbers are uint64. Whose permutation it is, and where keys come from, does not belong here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

MIN_BITS: Final = 8
"""With fewer, some orders of few elements are visibly more frequent than others: measured over all orders of 2 to 7
elements, chi-square is out of bounds up to 5 bits, in doubt with 6, and in order with 8."""

# Of SplitMix64 (Steele, Lea and Flood 2014).
FACTOR: Final = 0xBF58476D1CE4E5B9
SECOND_FACTOR: Final = 0x94D049BB133111EB
_WORD: Final = (1 << 64) - 1


class Network(NamedTuple):
    """A network for `size` elements. An index has `low_bits` low bits, with 1 in `low_mask`; the others in `high_mask`.

    2**bits - 1, `bits` being both halves', is size - 1 at least. `factor` is the second of a round.
    """

    size: int
    low_bits: int
    low_mask: int
    high_mask: int
    factor: int

    @classmethod
    def of(cls, size: int) -> Network:
        """The smallest one: its halves differ by a bit where the number of bits is odd."""
        bits = bits_for(size)
        return cls(size, bits // 2, (1 << bits // 2) - 1, (1 << (bits - bits // 2)) - 1, SECOND_FACTOR)


def bits_for(size: int) -> int:
    """Bits of the smallest network for so many elements."""
    return max(MIN_BITS, (size - 1).bit_length())


def permuted(index: int, network: Network, keys: Sequence[int]) -> int:
    """The image of an index. Unchecked.

    What lands outside is sent round again until it lands inside (cycle walking: Black and Rogaway 2002). That takes
    2**bits / size turns on average: fewer than two in the smallest network, except for a few elements.
    """
    size, low_bits, low_mask, high_mask, factor = network
    low, high = index & low_mask, index >> low_bits
    while True:
        for step in range(0, len(keys), 2):
            # Twice a round: 32 well-mixed bits of one half change the other. Written out, since a kernel calls no
            # plain function.
            word = (low + keys[step]) * FACTOR & _WORD
            word = (word ^ word >> 29) * factor & _WORD
            high ^= word >> 32 & high_mask
            word = (high + keys[step + 1]) * FACTOR & _WORD
            word = (word ^ word >> 29) * factor & _WORD
            low ^= word >> 32 & low_mask
        image = high << low_bits | low
        if image < size:
            return image


def unpermuted(image: int, network: Network, keys: Sequence[int]) -> int:
    """The index of an image: the rounds of `permuted` and its walk, backwards. Unchecked."""
    size, low_bits, low_mask, high_mask, factor = network
    low, high = image & low_mask, image >> low_bits
    while True:
        for step in range(len(keys) - 2, -1, -2):
            word = (high + keys[step + 1]) * FACTOR & _WORD
            word = (word ^ word >> 29) * factor & _WORD
            low ^= word >> 32 & low_mask
            word = (low + keys[step]) * FACTOR & _WORD
            word = (word ^ word >> 29) * factor & _WORD
            high ^= word >> 32 & high_mask
        index = high << low_bits | low
        if index < size:
            return index
