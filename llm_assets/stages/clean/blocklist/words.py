"""Words and phrases in text: the kernel that runs their automaton over documents.

Guarantees that an entry is found wherever its units (see `folding`) stand in a text one after another, with any
white space for a space, each occurrence of each entry being one hit, in time proportional to the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numba
import numpy as np

from llm_assets.stages.clean.blocklist.automaton import (
    ROOT,
    Automaton,
    Bytes,
    Integers,
    add_hits,
    build_automaton,
    fold,
    next_state,
    read_unit,
)
from llm_assets.stages.clean.blocklist.folding import SPACE, Folding
from llm_assets.stages.clean.blocklist.table import find, may_have


def build_words(lists: Sequence[Iterable[str]]) -> Automaton:
    """The automaton of up to 64 lists of entries, normalised, casefolded, with single spaces.

    An entry's value has bit i for list i.
    """
    masks: dict[str, int] = {}
    for number, entries in enumerate(lists):
        for entry in entries:
            masks[entry] = masks.get(entry, 0) | 1 << number
    return build_automaton(masks)


@numba.njit(nogil=True, cache=True)
def count_words(offsets: Integers, data: Bytes, words: Automaton, folding: Folding, hits: Integers) -> None:
    """Add to `hits` (int64[documents, lists]) how often each document has entries of each list.

    Document i is `data[offsets[i]:offsets[i + 1]]`, normalised as the entries are.
    """
    unit = np.empty(words.vocabulary.longest, np.uint8)
    for document in range(len(hits)):
        _count_in(data[offsets[document] : offsets[document + 1]], words, folding, unit, hits[document])


@numba.njit(nogil=True, cache=True)
def _count_in(text: Bytes, words: Automaton, folding: Folding, unit: Bytes, hits: Integers) -> None:
    """Of one document. `unit` is room for `read_unit`."""
    # Arrays taken out of their tuples here: within the loop each look into a tuple would count references.
    flags, indices, fold_starts, fold_data = folding
    vocabulary, space, first, keys, targets, failures, suffixes, values = words
    bits, slots, unit_keys, tags, starts, data, _ = vocabulary
    position = state = 0
    while position < len(text):
        start = position
        position, kind, key = read_unit(text, position, len(text), flags, indices, fold_starts, fold_data)
        symbol = -1
        if kind & SPACE:
            symbol = space
        elif may_have(bits, key):
            size = fold(text, start, position, flags, indices, fold_starts, fold_data, unit)
            symbol = find(slots, unit_keys, tags, starts, data, key, 0, unit, 0, size)
        if symbol == -1:
            state = ROOT
            continue
        state = next_state(first, keys, targets, failures, state, symbol)
        ending = state
        while ending != ROOT:
            add_hits(values[ending], hits)
            ending = np.int64(suffixes[ending])
