"""Words and phrases in text: the kernel that runs their automaton over documents.

Guarantees that an entry is found wherever its units (see `folding`) stand in a text one after another, with any
white space for a space, each occurrence of each entry being one hit, in time proportional to the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from llm_assets.kernels.kernel import kernel
from llm_assets.stages.clean.blocklist.automaton import (
    CHUNK,
    COLUMNS,
    END,
    ROOT,
    STATE,
    Automaton,
    Bytes,
    Integers,
    add_hits,
    build_automaton,
    follow,
    read_units,
)
from llm_assets.stages.clean.blocklist.folding import Folding


def build_words(lists: Sequence[Iterable[str]]) -> Automaton:
    """The automaton of up to 64 lists of entries, normalised, casefolded, with single spaces.

    An entry's value has bit i for list i.
    """
    masks: dict[str, int] = {}
    for number, entries in enumerate(lists):
        for entry in entries:
            masks[entry] = masks.get(entry, 0) | 1 << number
    return build_automaton(masks)


@kernel
def count_words(offsets: Integers, data: Bytes, words: Automaton, folding: Folding, hits: Integers) -> None:
    """Add to `hits` (int64[documents, lists]) how often each document has entries of each list.

    Document i is `data[offsets[i]:offsets[i + 1]]`, normalised as the entries are.
    """
    values, suffixes = words.values, words.suffixes
    unit = np.empty(words.vocabulary.longest, np.uint8)
    read = np.empty((CHUNK, COLUMNS), np.int64)
    for document in range(len(hits)):
        text, counts = data[offsets[document] : offsets[document + 1]], hits[document]
        position, state = 0, ROOT
        while position < len(text):
            count = read_units(text, position, len(text), words, folding, unit, read)
            position = read[count - 1, END]
            state = follow(words, state, read, count)
            for number in range(count):
                ending = read[number, STATE]
                while ending != ROOT:
                    add_hits(values[ending], counts)
                    ending = np.int64(suffixes[ending])
