"""Counts rows from the encoded levels and lengths of Parquet pages, without decoding values.

The encodings are those of the Parquet format's Encodings.md: the hybrid of run lengths and bit packing (RLE), and
DELTA_BINARY_PACKED. Guarantees a cost proportional to the encoded bytes, not to what they stand for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Levels = npt.NDArray[np.int64]
Run = tuple[int, int | Levels]
"""So many levels: all of one value, or each its own."""


class DamagedLevelsError(ValueError):
    """Encoded levels or lengths that cannot be decoded."""


def runs_of(data: bytes, width: int, count: int) -> Iterator[Run]:
    """The runs of `count` levels of `width` bits each, RLE-encoded."""
    place, value_bytes = 0, (width + 7) // 8
    while count > 0:
        head, place = _varint(data, place)
        if head & 1:
            groups = min(head >> 1, (count + 7) // 8)
            levels = _unpacked(data[place : place + groups * width], width)[:count]
            place += (head >> 1) * width
            yield len(levels), levels
            length = len(levels)
        else:
            length = min(head >> 1, count)
            yield length, int.from_bytes(data[place : place + value_bytes], "little")
            place += value_bytes
        if not length:
            raise DamagedLevelsError("a run of levels is empty")
        count -= length


def _unpacked(data: bytes, width: int) -> Levels:
    """Bit-packed numbers, the lowest bit first."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    whole = len(bits) // width
    weights = np.left_shift(np.int64(1), np.arange(width, dtype=np.int64))
    return bits[: whole * width].reshape(whole, width).astype(np.int64) @ weights


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """An unsigned LEB128 number, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            break
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise DamagedLevelsError("a number has no end")


@dataclass
class RowCounter:
    """Counts rows, and the values of the longest, from the repetition levels of a chunk's pages in order."""

    rows: int = 0
    longest: int = 0
    _open: int = 0

    def add(self, runs: Iterator[Run]) -> tuple[int, int]:
        """Number of the first and the last row, from 0, that have values in the page of these levels."""
        before = self.rows
        continues = None
        for length, levels in runs:
            starts = self._add_run(length, levels)
            continues = starts != 0 if continues is None else continues
        self.longest = max(self.longest, self._open)
        return max(0, before - 1 if continues else before), max(0, self.rows - 1)

    def _add_run(self, length: int, levels: int | Levels) -> int | None:
        """Takes in a run; tells where in it the first row begins, if one does."""
        if isinstance(levels, int):
            if levels:
                self._open += length
                return None
            self.longest = max(self.longest, self._open)
            self.rows, self._open = self.rows + length, 1
            return 0
        starts = np.flatnonzero(levels == 0)
        if not len(starts):
            self._open += length
            return None
        gaps = int(np.diff(starts).max(initial=0))
        self.longest = max(self.longest, self._open + int(starts[0]), gaps)
        self.rows, self._open = self.rows + len(starts), length - int(starts[-1])
        return int(starts[0])


def sum_of_delta_packed(data: bytes) -> int:
    """The sum of the numbers in DELTA_BINARY_PACKED `data`, with which it begins."""
    block, place = _varint(data, 0)
    minis, place = _varint(data, place)
    count, place = _varint(data, place)
    first, place = _varint(data, place)
    value = (first >> 1) ^ -(first & 1)
    if not minis or block % (minis * 8):
        raise DamagedLevelsError("miniblocks that are none")
    per_mini, total, left = block // minis, value if count else 0, count - 1
    while left > 0:
        least, place = _varint(data, place)
        least = (least >> 1) ^ -(least & 1)
        widths, place = data[place : place + minis], place + minis
        for width in widths[: -(-left // per_mini)]:
            size = per_mini * width // 8
            packed = _unpacked(data[place : place + size], width) if width else np.zeros(per_mini, np.int64)
            place += size
            values = value + np.cumsum(packed[: min(left, per_mini)] + least)
            if not len(values):
                raise DamagedLevelsError("a miniblock is cut")
            total, value, left = total + int(values.sum()), int(values[-1]), left - len(values)
    return total
