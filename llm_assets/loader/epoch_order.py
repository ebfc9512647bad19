"""The order of rows in each epoch: maps rows of the stream that a run trains on to rows of the set.

Guarantees that a row of the stream is found by arithmetic, in constant time for any epoch, and that every epoch has
each row of the set once. The first epoch is always in the order of the set, which was chosen when it was written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from llm_assets.kernels.feistel import FACTOR, Network, bits_for, permuted

_ROUNDS = 6


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
        *keys, offset = _keys(seed, epoch)
        blocks = self.rows // self.block  # the rows after the last whole block come last
        network = _network(blocks)
        while row < stop:
            number, inside = divmod(row, self.block)
            upto = min(stop, row - inside + self.block) if number < blocks else stop
            place = row if number >= blocks else permuted(number, network, keys) * self.block + inside
            start = (place + offset) % self.rows
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


@lru_cache(maxsize=4)
def _network(size: int) -> Network:
    """Halves of equal size, and one factor: saved states mean rows by the order that follows from it."""
    half = (bits_for(size) + 1) // 2
    mask = (1 << half) - 1
    return Network(size, half, mask, mask, FACTOR)
