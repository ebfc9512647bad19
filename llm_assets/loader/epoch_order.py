"""The order of rows in each epoch: maps rows of the stream that a run trains on to rows of the set.

Guarantees that a row of the stream is found by arithmetic, in constant time for any epoch, and that every epoch has
each row of the set once. The first epoch is always in the order of the set, which was chosen when it was written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

_ROUNDS = 6
_MASK = (1 << 64) - 1
_MULTIPLIER = 0xBF58476D1CE4E5B9  # of SplitMix64 (Steele, Lea and Flood 2014)


@dataclass(frozen=True)
class EpochOrder:
    """The epochs of a set of `rows` rows.

    With `seed` None every epoch is in the order of the set. With a seed, each later epoch shuffles blocks of `block`
    rows by a keyed pseudo-random permutation of its own. It also shifts the rows by an offset of its own, so that
    blocks have other rows in each epoch. Rows within a block keep their order, which saves a seek for each.
    Raises ValueError for a block below 1.
    """

    rows: int
    seed: int | None = None
    block: int = 64

    def __post_init__(self) -> None:
        if self.block < 1:
            raise ValueError(f"blocks of {self.block} rows")

    def ranges(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Rows of the set at rows `first` to `last` (exclusive) of the stream: ranges (first, last), in order."""
        while first < last:
            epoch, row = divmod(first, self.rows)
            stop = min(self.rows, row + last - first)
            first += stop - row
            if epoch == 0 or self.seed is None:
                yield row, stop
            else:
                yield from self._permuted(self.seed, epoch, row, stop)

    def _permuted(self, seed: int, epoch: int, row: int, stop: int) -> Iterator[tuple[int, int]]:
        keys = _keys(seed, epoch)
        blocks = self.rows // self.block  # the rows after the last whole block come last
        while row < stop:
            number, inside = divmod(row, self.block)
            upto = min(stop, row - inside + self.block) if number < blocks else stop
            place = row if number >= blocks else _permuted(number, blocks, keys) * self.block + inside
            start = (place + keys[-1]) % self.rows
            end = start + upto - row
            yield start, min(end, self.rows)
            if end > self.rows:
                yield 0, end - self.rows
            row = upto


@lru_cache(maxsize=4)
def _keys(seed: int, epoch: int) -> tuple[int, ...]:
    """The keys of the rounds of an epoch's permutation, then its offset."""
    name = f"{seed} {epoch}".encode()
    digest = hashlib.blake2b(name, digest_size=8 * (_ROUNDS + 1), person=b"llm_assets.epoch").digest()
    return tuple(int.from_bytes(digest[place : place + 8], "little") for place in range(0, len(digest), 8))


def _permuted(index: int, size: int, keys: tuple[int, ...]) -> int:
    """The image of `index` under a permutation of 0 … size - 1: a Feistel network, with cycle walking.

    Cycle walking (Black and Rogaway 2002): an image outside the range is permuted again. The network has at least
    8 bits, since with fewer some orders of a few elements are visibly more frequent than others.
    """
    half = max(4, (max(1, size - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    while True:
        high, low = index >> half, index & mask
        for key in keys[:_ROUNDS]:
            word = (low + key) * _MULTIPLIER & _MASK
            word = ((word ^ word >> 29) * _MULTIPLIER & _MASK) >> 32
            high, low = low, high ^ word & mask
        index = high << half | low
        if index < size:
            return index
