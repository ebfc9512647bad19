"""The endless stream of a source's rows in order of use, computed at any position.

Guarantees that every row is used once before any is used again (a lap); that held-out rows are never used; and that a
source may grow: the current lap then continues with its unused rows and the new ones, shuffled. Memory and time do not
depend on the number of rows. `lengths` limits how much of a stream a mixture uses.
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
    """From position `start` of the stream on, the source has `rows` rows, with the held-out ones."""

    start: int
    rows: int


@dataclass(frozen=True)
class _LapPart:
    """From `offset` of a lap on, the lap covers the first `slots` slots: its unused ones and the new ones."""

    offset: int
    slots: int


@dataclass(frozen=True)
class _Laps:
    """Consecutive laps with these parts from position `start` on; the first is lap `number`."""

    start: int
    number: int
    parts: tuple[_LapPart, ...]

    @property
    def length(self) -> int:
        return self.parts[-1].slots


@dataclass(frozen=True)
class SourceStream:
    """The order of use of a source's rows.

    A slot is a row that is not held out. Slot j is row `held_out + j` of the permutation that selects held-out rows;
    for rows added later it is row `held_out + j` itself. A lap is a permutation of all slots, with its own key. Where
    the source grows within a lap, the lap ends with a permutation of its unused slots and the new ones.

    Attributes:
        name: of the source; keys are derived from it and `seed`.
        seed: of the mixture. Held-out rows do not depend on it, so that mixtures with other seeds are comparable.
        held_out: number of rows of the first era that are in no lap.
        eras: the number of rows of the source over time: one era, and another one each time it grew.
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
        """The stream of a source with this many rows."""
        return SourceStream(name, seed, held_out, (Era(0, rows),))

    def grown(self, position: int, rows: int) -> SourceStream:
        """The stream of the source with `rows` rows from a position on, unchanged before it.

        Raises ValueError where it had more rows.
        """
        if rows == self.rows:
            return self
        return replace(self, eras=(*self.eras, Era(position, rows)))

    @property
    def rows(self) -> int:
        """Rows of the source in the last era, with the held-out ones."""
        return self.eras[-1].rows

    @property
    def slots(self) -> int:
        """Rows of the source in the last era that can be used."""
        return self.rows - self.held_out

    def held_out_rows(self, first: int, last: int) -> RowNumbers:
        """Rows `first` to `last` (exclusive) in the order of holding out; the first `held_out` are held out. int64."""
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
        """Positions of rows within `first` to `last` (exclusive): for each lap, indices into `rows` and positions.

        The inverse of `rows_at`. Held-out rows have no position.
        """
        slots = self._slots_of(rows)
        for laps, number, start, begin, end in self._laps(first, last):
            used = np.flatnonzero((slots >= 0) & (slots < laps.length))
            position = start + self._offsets(laps.parts, number, slots[used])
            here = (position >= begin) & (position < end)
            yield used[here], position[here]

    def repetitions(self, position: int) -> Fraction:
        """Uses of each row before a position: whole laps, plus the fraction of the current lap."""
        if not self.slots:
            return Fraction(0)
        laps, number, start = self._lap_at(position)
        return number + Fraction(position - start, laps.length)

    def position_after(self, repetitions: Fraction) -> int:
        """The last position before which `repetitions` does not exceed this number."""
        if not self.slots:
            return 0
        whole = repetitions.numerator // repetitions.denominator
        laps = next(laps for laps in reversed(self._kinds) if laps.number <= whole and laps.length)
        start = laps.start + (whole - laps.number) * laps.length
        return start + int((repetitions - whole) * laps.length)

    def lap_of(self, position: int) -> int:
        """The number of the lap at a position; 0 where the source has no usable row."""
        return self._lap_at(position)[1] if self.slots else 0

    def era_of(self, row: int) -> Era:
        """The era in which a row was added."""
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
        """All laps by kind: a kind lasts until the next one starts. A lap in which the source grew is its own kind."""
        kinds = [_Laps(0, 0, (_LapPart(0, self.eras[0].rows - self.held_out),))]
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
                kinds.append(_Laps(start, number, (_LapPart(0, slots),)))
            else:
                kinds.append(_Laps(start, number, (*laps.parts, _LapPart(offset, slots))))
                kinds.append(_Laps(start + slots, number + 1, (_LapPart(0, slots),)))
        return tuple(kinds)

    def _lap_at(self, position: int) -> tuple[_Laps, int, int]:
        """The lap at a position: its kind, its number and its start."""
        laps = self._kinds[bisect_right(self._kinds, position, key=lambda laps: laps.start) - 1]
        if not laps.length:
            raise ValueError(f"source {self.name!r} has no usable row")
        whole = (position - laps.start) // laps.length
        return laps, laps.number + whole, laps.start + whole * laps.length

    def _laps(self, first: int, last: int) -> Iterator[tuple[_Laps, int, int, int, int]]:
        """The laps of a range of positions: kind, number, start, and the first and last (exclusive) position in it."""
        while first < last:
            laps, number, start = self._lap_at(first)
            end = min(last, start + laps.length)
            yield laps, number, start, first, end
            first = end

    def _keys(self, number: int, part: int) -> NDArray[np.uint64]:
        return permutation_keys(self.seed, self.name, f"{number}.{part}" if part else number)

    def _slots_in(self, parts: tuple[_LapPart, ...], number: int, offsets: RowNumbers) -> RowNumbers:
        """The slots at offsets of a lap with these parts, int64 [n]."""
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

    def _offsets(self, parts: tuple[_LapPart, ...], number: int, slots: RowNumbers) -> RowNumbers:
        """The offsets of slots in a lap with these parts, int64 [n]: the inverse of `_slots_in`."""
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
        """The slots of rows; negative for held-out rows."""
        places = rows.copy()
        if self.held_out:
            first = rows < self.eras[0].rows
            places[first] = unpermute(rows[first], self.eras[0].rows, self._held_out_keys)
        return places - self.held_out
