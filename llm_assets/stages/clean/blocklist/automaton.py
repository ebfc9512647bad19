"""An automaton that finds entries in text, unit by unit (see `folding`), for the kernels of words and of addresses.

Guarantees every occurrence of every entry, overlapping ones too, and no other, in time proportional to the text:
it is Aho and Corasick's (Communications of the ACM 18(6), 1975), on units instead of characters, so that the text
between two entries costs one look-up per word. What follows from an occurrence is the kernels' business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from llm_assets.stages.clean.blocklist.folding import FOLDS, SPACE, WORD, units
from llm_assets.stages.clean.blocklist.table import Table, add_byte, build_table, pick, start_of
from llm_assets.stages.clean.utf8 import decode

ROOT: Final = 0

_NONE: Final = -1

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
_Indices = npt.NDArray[np.int32]
_Codes = npt.NDArray[np.uint16]
_Bits = npt.NDArray[np.uint64]


class Automaton(NamedTuple):
    """The automaton as a kernel takes it. State 0 is the root.

    `vocabulary` numbers the units of all entries; `space` is the number of white space, or -1. The successor of the
    root for unit u is `first[u]` (int32[units], 0: the root itself); that of another state stands in the hash table
    `keys` (int64, -1: free) and `targets` (int32) under `state << 32 | unit`. `failures` and `suffixes`
    (int32[states]) lead to the state of the longest shorter suffix, and of the longest that ends an entry; `values`
    (uint64[states]) is the value of the entry that ends there, or 0.
    """

    vocabulary: Table
    space: int
    first: _Indices
    keys: Integers
    targets: _Indices
    failures: _Indices
    suffixes: _Indices
    values: _Bits


def build_automaton(entries: Mapping[str, int]) -> Automaton:
    """The automaton of entries, normalised, casefolded, with single spaces, each with its value, from 1 to 2**64 - 1.

    What a value says is up to the kernel.
    """
    numbers: dict[str, int] = {}
    children: list[dict[int, int]] = [{}]
    values = [0]
    for entry, value in entries.items():
        state = ROOT
        for unit in units(entry):
            symbol = numbers.setdefault(unit, len(numbers))
            following = children[state].get(symbol)
            if following is None:
                following = children[state][symbol] = len(children)
                children.append({})
                values.append(0)
            state = following
        values[state] = value
    failures, suffixes = _link(children, values)
    keys, targets = _transitions(children)
    return Automaton(
        vocabulary=build_table([unit.encode() for unit in numbers]),
        space=numbers.get(" ", _NONE),
        first=np.array([children[ROOT].get(symbol, ROOT) for symbol in numbers.values()], np.int32),
        keys=keys,
        targets=targets,
        failures=failures,
        suffixes=suffixes,
        values=np.array(values, np.uint64),
    )


def _link(children: Sequence[dict[int, int]], values: Sequence[int]) -> tuple[_Indices, _Indices]:
    """Failure and suffix links of every state, breadth first."""
    failures = [ROOT] * len(children)
    suffixes = [ROOT] * len(children)
    waiting = deque(children[ROOT].values())
    while waiting:
        state = waiting.popleft()
        suffixes[state] = failures[state] if values[failures[state]] else suffixes[failures[state]]
        for symbol, following in children[state].items():
            fallback = failures[state]
            while fallback != ROOT and symbol not in children[fallback]:
                fallback = failures[fallback]
            failures[following] = children[fallback].get(symbol, ROOT)
            waiting.append(following)
    return np.array(failures, np.int32), np.array(suffixes, np.int32)


def _transitions(children: Sequence[dict[int, int]]) -> tuple[Integers, _Indices]:
    """The hash table of all transitions but the root's; at most half of it is taken."""
    edges = [
        (state << 32 | symbol, following)
        for state, each in enumerate(children)
        if state != ROOT
        for symbol, following in each.items()
    ]
    size = 1 << (2 * len(edges) + 1).bit_length()
    keys, targets = np.full(size, _NONE, np.int64), np.zeros(size, np.int32)
    if edges:
        _fill(np.array(edges, np.int64), keys, targets)
    return keys, targets


@numba.njit(nogil=True, cache=True)
def _fill(edges: Integers, keys: Integers, targets: _Indices) -> None:
    for key, target in edges:
        slot = _slot_of(key, len(keys))
        while keys[slot] != _NONE:
            slot = (slot + 1) & (len(keys) - 1)
        keys[slot] = key
        targets[slot] = target


@numba.njit(nogil=True, cache=True, inline="always")
def _slot_of(key: int, size: int) -> np.int64:
    return np.int64(pick(np.uint64(key), size))


@numba.njit(nogil=True, cache=True)
def next_state(first: _Indices, keys: Integers, targets: _Indices, failures: _Indices, state: int, symbol: int) -> int:
    """The state after one more unit, given its number in the vocabulary."""
    while state != ROOT:
        key = state << 32 | symbol
        slot = _slot_of(key, len(keys))
        while keys[slot] != _NONE:
            if keys[slot] == key:
                return int(targets[slot])
            slot = (slot + 1) & (len(keys) - 1)
        state = int(failures[state])
    return int(first[symbol])


@numba.njit(nogil=True, cache=True, inline="always")
def read_unit(
    text: Bytes, position: int, end: int, flags: Bytes, indices: _Codes, fold_starts: Integers, fold_data: Bytes
) -> tuple[int, int, np.uint64]:
    """Where the unit at `position` ends, not beyond `end`; its flags; its hash, casefolded.

    The arrays are those of `Folding`: looking into a tuple, or passing one on, counts references for every unit.
    """
    code, size = np.int64(text[position]), 1
    if code >= 0x80:
        code, size = decode(text, position)
    kind = unit_kind = int(flags[code])
    position += size
    key = start_of(0)
    if kind & SPACE:
        position = _skip_spaces(text, position, end, flags)
    else:
        while True:
            if code < 0x80:
                key = add_byte(key, np.uint8(code | 0x20 if 0x41 <= code <= 0x5A else code))
            elif kind & FOLDS:
                for place in range(fold_starts[indices[code]], fold_starts[indices[code] + 1]):
                    key = add_byte(key, fold_data[place])
            else:
                for place in range(position - size, position):
                    key = add_byte(key, text[place])
            if not kind & WORD or position >= end:
                break
            code, size = np.int64(text[position]), 1
            if code >= 0x80:
                code, size = decode(text, position)
            kind = int(flags[code])
            if not kind & WORD:
                break
            position += size
    return position, unit_kind, key


@numba.njit(nogil=True, cache=True)
def fold(
    text: Bytes,
    start: int,
    end: int,
    flags: Bytes,
    indices: _Codes,
    fold_starts: Integers,
    fold_data: Bytes,
    folded: Bytes,
) -> int:
    """Casefold `text[start:end]` into `folded`; its size, or one beyond where `folded` is too short."""
    length = 0
    while start < end:
        code, size = np.int64(text[start]), 1
        if code < 0x80:
            if length == len(folded):
                return len(folded) + 1
            folded[length] = np.uint8(code | 0x20 if 0x41 <= code <= 0x5A else code)
            length += 1
            start += 1
            continue
        code, size = decode(text, start)
        folds = flags[code] & FOLDS
        first = np.int64(fold_starts[indices[code]]) if folds else start
        beyond = np.int64(fold_starts[indices[code] + 1]) if folds else start + size
        if length + beyond - first > len(folded):
            return len(folded) + 1
        for place in range(first, beyond):
            folded[length] = fold_data[place] if folds else text[place]
            length += 1
        start += size
    return length


@numba.njit(nogil=True, cache=True)
def _skip_spaces(text: Bytes, position: int, end: int, flags: Bytes) -> int:
    while position < end:
        code, size = decode(text, position)
        if not flags[code] & SPACE:
            break
        position += size
    return position


@numba.njit(nogil=True, cache=True)
def add_hits(mask: np.uint64, hits: Integers) -> None:
    """Add 1 to the hits (int64[lists]) of every list whose bit is set."""
    number = 0
    while mask:
        hits[number] += np.int64(mask & np.uint64(1))
        mask >>= np.uint64(1)
        number += 1
