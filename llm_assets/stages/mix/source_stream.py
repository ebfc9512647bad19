"""The rows of one source in the order in which they are used: a stream without end, computed from anywhere.

Guarantees that every row is used once before any is used again (a lap), that held-out rows are never used, and that
a source which grows goes on: rows already used in a lap do not come again in it, those that are left and those that
are new do. Memory and time do not depend on the number of rows. How much of a stream may be used is not known here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_assets.stages.mix.permutation import permutation_keys, permute, unpermute

RowNumbers = NDArray[np.int64]
HELD_OUT = "held_out"


@dataclass(frozen=True)
class Era:
    """From position `start` of the stream on, the source has `rows` rows, held-out ones included."""

    start: int
    rows: int


@dataclass(frozen=True)
class _Part:
    """From `offset` of a lap on, the lap is over the first `slots` slots: those not used in it yet, and new ones."""

    offset: int
    slots: int


@dataclass(frozen=True)
class _Laps:
    """Laps of one kind from position `start` on, the first of them being lap `number`: the last part says how long."""

    start: int
    number: int
    parts: tuple[_Part, ...]

    @property
    def length(self) -> int:
        return self.parts[-1].slots


@dataclass(frozen=True)
class SourceStream:
    """How the rows of a source follow each other.

    A slot is a row that is not held out: slot j is row `held_out + j` of the order in which rows were held out, and
    where the source has grown since, simply row `held_out + j`. A lap is a permutation of the slots with a key of its
    own. A source that grows within a lap ends it with a permutation of the slots left and the new ones.

    Attributes:
        name: of the source. With `seed` it makes the keys.
        seed: of the mixture. What is held out does not depend on it, so mixtures with other seeds compare.
        held_out: rows of the first era that are in no lap.
        eras: how many rows the source had from where on: one era, and another each time it grew.
    """

    name: str
    seed: int
    held_out: int
    eras: tuple[Era, ...]

    def __post_init__(self) -> None:
        starts, rows = [era.start for era in self.eras], [era.rows for era in self.eras]
        if not starts or starts[0] or starts != sorted(starts) or rows != sorted(rows):
            raise ValueError(f"source {self.name!r}: {self.eras} are not the eras of a source that only grows")
        if not 0 <= self.held_out <= rows[0]:
            raise ValueError(f"source {self.name!r}: {self.held_out} rows held out of {rows[0]}")

    @staticmethod
    def of(name: str, seed: int, rows: int, held_out: int = 0) -> SourceStream:
        """The stream of a source with so many rows."""
        return SourceStream(name, seed, held_out, (Era(0, rows),))

    def grown(self, position: int, rows: int) -> SourceStream:
        """The stream of the source that has `rows` rows from a position on; the same before it.

        Raises ValueError where that is fewer than it had.
        """
        if rows == self.rows:
            return self
        return replace(self, eras=(*self.eras, Era(position, rows)))

    @property
    def rows(self) -> int:
        """Rows of the source now, held-out ones included."""
        return self.eras[-1].rows

    @property
    def slots(self) -> int:
        """Rows of the source now that can be used."""
        return self.rows - self.held_out

    def held_out_rows(self, first: int, last: int) -> RowNumbers:
        """Rows in the order in which they are held out, int64 [last - first]; `held_out` of them are."""
        return self._by_holding_out(np.arange(first, last, dtype=np.int64))

    def rows_at(self, first: int, last: int) -> RowNumbers:
        """The rows at positions `first` to `last` (exclusive) of the stream, int64 [last - first].

        Raises ValueError where the source has no row that can be used.
        """
        pieces = [
            self._slots_in(laps.parts, number, np.arange(begin - start, end - start, dtype=np.int64))
            for laps, number, start, begin, end in self._laps(first, last)
        ]
        return self._rows(np.concatenate([np.empty(0, np.int64), *pieces]))

    def positions_of(self, rows: RowNumbers, first: int, last: int) -> Iterator[tuple[NDArray[np.intp], RowNumbers]]:
        """Where in `first` to `last` (exclusive) the given rows are: for each lap, which of them, and their positions.

        The inverse of `rows_at`. Held-out rows are nowhere.
        """
        slots = self._slots_of(rows)
        for laps, number, start, begin, end in self._laps(first, last):
            used = np.flatnonzero((slots >= 0) & (slots < laps.length))
            position = start + self._offsets(laps.parts, number, slots[used])
            here = (position >= begin) & (position < end)
            yield used[here], position[here]

    def repetitions(self, position: int) -> Fraction:
        """How often the rows have been used before a position: whole laps, and the part of the lap it is in."""
        if not self.slots:
            return Fraction(0)
        laps, number, start = self._lap_at(position)
        return number + Fraction(position - start, laps.length)

    def position_after(self, repetitions: Fraction) -> int:
        """The last position before which the rows have been used so often at most: see `repetitions`."""
        if not self.slots:
            return 0
        whole = repetitions.numerator // repetitions.denominator
        laps = next(laps for laps in reversed(self._kinds) if laps.number <= whole and laps.length)
        start = laps.start + (whole - laps.number) * laps.length
        return start + int((repetitions - whole) * laps.length)

    def lap_of(self, position: int) -> int:
        """The number of the lap a position is in; 0 where the source has no row to use."""
        return self._lap_at(position)[1] if self.slots else 0

    def era_of(self, row: int) -> Era:
        """The era in which a row came."""
        return next(era for era in self.eras if row < era.rows)

    def as_dict(self) -> dict[str, Any]:
        """A JSON form without name and seed; `from_dict` reads it back."""
        return {"held_out": self.held_out, "eras": [[era.start, era.rows] for era in self.eras]}

    @staticmethod
    def from_dict(name: str, seed: int, data: Mapping[str, Any]) -> SourceStream:
        """The stream that `as_dict` wrote."""
        return SourceStream(name, seed, data["held_out"], tuple(Era(*era) for era in data["eras"]))

    # --- laps ---------------------------------------------------------------------------------------------------------

    @cached_property
    def _kinds(self) -> tuple[_Laps, ...]:
        """All laps: each kind goes on until the next one starts. A lap that grew is a kind of its own."""
        kinds = [_Laps(0, 0, (_Part(0, self.eras[0].rows - self.held_out),))]
        for era in self.eras[1:]:
            slots = era.rows - self.held_out
            if len(kinds) > 1 and era.start < kinds[-1].start:
                kinds.pop()
            laps = kinds.pop()
            whole = 0 if len(laps.parts) > 1 or not laps.length else (era.start - laps.start) // laps.length
            if whole:
                kinds.append(laps)
            start, number = laps.start + whole * laps.length, laps.number + whole
            offset = era.start - start
            if not offset:
                kinds.append(_Laps(start, number, (_Part(0, slots),)))
            else:
                kinds.append(_Laps(start, number, (*laps.parts, _Part(offset, slots))))
                kinds.append(_Laps(start + slots, number + 1, (_Part(0, slots),)))
        return tuple(kinds)

    def _lap_at(self, position: int) -> tuple[_Laps, int, int]:
        """The kind of the lap a position is in, the number of the lap and where it starts."""
        laps = self._kinds[bisect_right(self._kinds, position, key=lambda laps: laps.start) - 1]
        if not laps.length:
            raise ValueError(f"source {self.name!r} has no row to use")
        whole = (position - laps.start) // laps.length
        return laps, laps.number + whole, laps.start + whole * laps.length

    def _laps(self, first: int, last: int) -> Iterator[tuple[_Laps, int, int, int, int]]:
        """The laps that positions are in: kind, number, start, and the first and last position in it."""
        while first < last:
            laps, number, start = self._lap_at(first)
            end = min(last, start + laps.length)
            yield laps, number, start, first, end
            first = end

    def _keys(self, number: int, part: int) -> NDArray[np.uint64]:
        return permutation_keys(self.seed, self.name, f"{number}.{part}" if part else number)

    def _slots_in(self, parts: tuple[_Part, ...], number: int, offsets: RowNumbers) -> RowNumbers:
        """The slots at some offsets of a lap of these parts."""
        part, before = parts[-1], parts[:-1]
        keys = self._keys(number, len(before))
        if not before:
            return permute(offsets, part.slots, keys)
        slots = np.empty_like(offsets)
        grown = offsets >= part.offset
        slots[~grown] = self._slots_in(before, number, offsets[~grown])
        left = before[-1].slots - part.offset
        chosen = permute(offsets[grown] - part.offset, part.slots - part.offset, keys)
        of_left = chosen < left
        chosen[~of_left] += part.offset
        chosen[of_left] = self._slots_in(before, number, chosen[of_left] + part.offset)
        slots[grown] = chosen
        return slots

    def _offsets(self, parts: tuple[_Part, ...], number: int, slots: RowNumbers) -> RowNumbers:
        """The offsets in a lap of these parts at which the slots are: the inverse of `_slots_in`."""
        part, before = parts[-1], parts[:-1]
        keys = self._keys(number, len(before))
        if not before:
            return unpermute(slots, part.slots, keys)
        chosen = slots.copy()
        known = slots < before[-1].slots
        chosen[known] = self._offsets(before, number, slots[known])
        after = chosen >= part.offset
        chosen[after] = part.offset + unpermute(chosen[after] - part.offset, part.slots - part.offset, keys)
        return chosen

    # --- slots and rows -----------------------------------------------------------------------------------------------

    @cached_property
    def _held_out_keys(self) -> NDArray[np.uint64]:
        return permutation_keys(0, self.name, HELD_OUT)

    def _by_holding_out(self, places: RowNumbers) -> RowNumbers:
        return permute(places, self.eras[0].rows, self._held_out_keys)

    def _rows(self, slots: RowNumbers) -> RowNumbers:
        rows = slots + self.held_out
        if self.held_out:
            first = rows < self.eras[0].rows
            rows[first] = self._by_holding_out(rows[first])
        return rows

    def _slots_of(self, rows: RowNumbers) -> RowNumbers:
        """The slots of rows; below 0 for held-out ones."""
        places = rows.copy()
        if self.held_out:
            first = rows < self.eras[0].rows
            places[first] = unpermute(rows[first], self.eras[0].rows, self._held_out_keys)
        return places - self.held_out
