"""An automaton that finds entries in text, unit by unit (see `folding`), for the kernels of words and of addresses.

Guarantees every occurrence of every entry, overlapping ones too, and no other, in time proportional to the text:
it is Aho and Corasick's (Communications of the ACM 18(6), 1975), on units instead of characters, so that the text
between two entries costs one look-up per word. What follows from an occurrence is the kernels' business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from llm_assets.kernels.kernel import kernel
from llm_assets.kernels.numbering import find_key, number_key, table_size
from llm_assets.kernels.strings import NOT_FOUND, Strings, add_byte, build_strings, find, may_have, start_of
from llm_assets.kernels.utf8 import decode
from llm_assets.stages.clean.blocklist.folding import FOLDS, SPACE, WORD, Folding, units

ROOT: Final = 0

# Columns of what is read of a text, a row for each unit: where it ends, its flags (see `folding`), its number in the
# vocabulary (or NOT_FOUND), and the state after it.
END: Final = 0
KIND: Final = 1
SYMBOL: Final = 2
STATE: Final = 3
COLUMNS: Final = 4

CHUNK: Final = 1024
"""Units to be read at a time: so many that what calls cost is small, and so few that they stay in the cache."""

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
_Indices = npt.NDArray[np.int32]
_Bits = npt.NDArray[np.uint64]


class Automaton(NamedTuple):
    """The automaton as a kernel takes it. State 0 is the root.

    `vocabulary` numbers the units of all entries; `space` is the number of white space, or -1. The successor of the
    root for unit u is `first[u]` (int32[units], 0: the root itself); that of another state is `targets[n]` (int32), n
    being the number of `state << 32 | unit` among `keys` (uint64) by the table `slots` (see `numbering`). `failures`
    and `suffixes` (int32[states]) lead to the state of the longest shorter suffix, and of the longest that ends an
    entry; `values` (uint64[states]) is the value of the entry that ends there, or 0.
    """

    vocabulary: Strings
    space: int
    first: _Indices
    keys: _Bits
    targets: _Indices
    slots: _Indices
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
    keys, targets, slots = _transitions(children)
    return Automaton(
        vocabulary=build_strings([unit.encode() for unit in numbers]),
        space=numbers.get(" ", NOT_FOUND),
        first=np.array([children[ROOT].get(symbol, ROOT) for symbol in numbers.values()], np.int32),
        keys=keys,
        targets=targets,
        slots=slots,
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


def _transitions(children: Sequence[dict[int, int]]) -> tuple[_Bits, _Indices, _Indices]:
    """The keys and targets of all transitions but the root's, and the hash table in which their numbers stand."""
    edges = [
        (state << 32 | symbol, following)
        for state, each in enumerate(children)
        if state != ROOT
        for symbol, following in each.items()
    ]
    keys, targets = np.array([key for key, _ in edges], np.uint64), np.array([target for _, target in edges], np.int32)
    slots = np.zeros(table_size(len(edges)), np.int32)
    _enter(keys, slots)
    return keys, targets, slots


@kernel
def _enter(keys: _Bits, slots: _Indices) -> None:
    for number in range(len(keys)):
        number_key(keys[number], number, keys, slots, len(slots))


@kernel(counted=False)
def read_units(
    text: Bytes, position: int, end: int, automaton: Automaton, folding: Folding, unit: Bytes, read: Integers
) -> int:
    """Cut `text[position:end]` into units until it or `read` (int64[units, COLUMNS]) is full; returns how many.

    Sets the columns END, KIND and SYMBOL. `unit` is room for one of the vocabulary, `vocabulary.longest` bytes.
    """
    flags, indices, fold_starts, fold_data = folding
    vocabulary = automaton.vocabulary
    room = vocabulary.longest
    count = 0
    while position < end and count < len(read):
        code, size = np.int64(text[position]), 1
        if code >= 0x80:
            code, size = decode(text, position, len(text))
        kind = flags[code]
        read[count, KIND] = kind
        key, length = start_of(0), 0
        while True:
            position += size
            if kind & SPACE:
                key = np.uint64(0)
            elif code < 0x80:
                byte = np.uint8(code | 0x20 if 0x41 <= code <= 0x5A else code)
                key = add_byte(key, byte)
                if length < room:
                    unit[length] = byte
                length += 1
            else:
                folds = kind & FOLDS != 0
                first = fold_starts[indices[code]] if folds else position - size
                beyond = fold_starts[indices[code] + 1] if folds else position
                for place in range(first, beyond):
                    byte = fold_data[place] if folds else text[place]
                    key = add_byte(key, byte)
                    if length < room:
                        unit[length] = byte
                    length += 1
            if not kind & (WORD | SPACE) or position >= end:
                break
            code, size = np.int64(text[position]), 1
            if code >= 0x80:
                code, size = decode(text, position, len(text))
            following = flags[code]
            if not kind & following & (WORD | SPACE):
                break
            kind = following
        read[count, END] = position
        symbol = NOT_FOUND
        if kind & SPACE:
            symbol = automaton.space
        elif length <= room and may_have(vocabulary.bits, key):
            symbol = find(vocabulary, key, 0, unit, 0, length)
        read[count, SYMBOL] = symbol
        count += 1
    return count


@kernel(counted=False)
def follow(automaton: Automaton, state: int, read: Integers, count: int) -> int:
    """Go on from a state through the first units of `read`: sets the column STATE after each, returns the last."""
    _, _, roots, keys, targets, slots, failures, _, _ = automaton
    for number in range(count):
        symbol = read[number, SYMBOL]
        found = symbol == NOT_FOUND
        while state != ROOT and not found:
            key = np.uint64(state) << np.uint64(32) | np.uint64(symbol)
            transition = find_key(key, keys, slots, len(slots))
            found = transition != NOT_FOUND
            state = int(targets[transition] if found else failures[state])
        if symbol == NOT_FOUND:
            state = ROOT
        elif not found:
            state = int(roots[symbol])
        read[number, STATE] = state
    return state


@kernel(counted=False)
def add_hits(mask: np.uint64, hits: Integers) -> None:
    """Add 1 to the hits (int64[lists]) of every list whose bit is set."""
    number = 0
    while mask:
        hits[number] += np.int64(mask & np.uint64(1))
        mask >>= np.uint64(1)
        number += 1
