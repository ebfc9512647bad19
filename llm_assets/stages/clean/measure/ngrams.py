"""The kernel of `measure` that looks for repeated words and repeated sequences of 2 to 10 words.

Guarantees exact answers: every word and every n-gram is told from every other, in time proportional to the bytes.
What makes that cheap: an n-gram is repeated only if the (n-1)-grams at its start and at the next word both are, so
each length looks only where the one before found a repetition, and n-grams are numbered, so that a longer one is
a pair of two numbers.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from llm_assets.kernels.kernel import kernel
from llm_assets.kernels.numbering import number_key, number_stretch, table_size
from llm_assets.stages.clean.measure.statistics import DUPLICATE_SIZES, TOP_SIZES

# Columns of the counts, each of one document. The n-grams are in ascending order of n.
DISTINCT_WORDS: Final = 0
TOP_CHARACTERS: Final = 1  # of 2-, 3- and 4-grams
DUPLICATE_CHARACTERS: Final = 4  # of 5- to 10-grams
COLUMNS: Final = 10

_LAST_TOP_SIZE: Final = TOP_SIZES[-1]
_LAST_SIZE: Final = DUPLICATE_SIZES[-1]

_Bytes = npt.NDArray[np.uint8]
_Offsets = npt.NDArray[np.int64]
_Integers = npt.NDArray[np.int32]


class Words(NamedTuple):
    """Where the words of some documents stand: a word w of document d, which starts at byte `offsets[d]`.

    Its bytes are `starts[w]` to `starts[w] + sizes[w]` from there; `ends[w]` is how many characters the words of the
    document up to and with it have. All int32[words], those of document d at `bounds[d]` to `bounds[d + 1]` (int64).
    """

    bounds: _Offsets
    starts: _Integers
    sizes: _Integers
    ends: _Integers


class Scratch(NamedTuple):
    """Room for the longest document of a column: what a kernel writes there is of no use to anyone else.

    One entry per word in each; in `slots` a power of two, at least twice the words.
    """

    ids: _Integers
    positions: _Integers
    grams: _Integers
    counts: _Integers
    keys: npt.NDArray[np.uint64]
    slots: _Integers

    @classmethod
    def of(cls, words: int) -> Self:
        """For documents of at most so many words."""
        slots = np.empty(table_size(words), np.int32)
        ids, positions, grams, counts = (np.empty(words, np.int32) for _ in range(4))
        return cls(ids, positions, grams, counts, np.empty(words, np.uint64), slots)


@kernel
def count_ngrams(
    offsets: _Offsets, data: _Bytes, words: Words, scratch: Scratch
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Counts int64[documents, COLUMNS] and, in bits, the entropy of the words float64[documents]."""
    documents = len(words.bounds) - 1
    counts = np.zeros((documents, COLUMNS), np.int64)
    entropies = np.zeros(documents, np.float64)
    for document in range(documents):
        first, last = words.bounds[document], words.bounds[document + 1]
        if first == last:
            continue
        text = data[offsets[document] : offsets[document + 1]]
        starts, sizes, ends = words.starts[first:last], words.sizes[first:last], words.ends[first:last]
        row = counts[document]
        distinct = _number_words(text, starts, sizes, scratch)
        row[DISTINCT_WORDS] = distinct
        entropies[document] = _entropy(scratch.counts[:distinct], last - first)
        _count_repetitions(ends, scratch, row)
    return counts, entropies


@kernel(counted=False)
def _number_words(text: _Bytes, starts: _Integers, sizes: _Integers, scratch: Scratch) -> int:
    """Write the number of each word to `ids`, in order of first occurrence, and how often it occurs to `counts`.

    Returns how many different ones there are.
    """
    ids, firsts, counts, keys, slots = scratch.ids, scratch.positions, scratch.counts, scratch.keys, scratch.slots
    size = table_size(len(starts))
    slots[:size] = 0
    distinct = 0
    for word in range(len(starts)):
        number = number_stretch(text, word, starts, sizes, distinct, keys, firsts, slots, size)
        if number == distinct:
            counts[number] = 0
            distinct += 1
        ids[word] = number
        counts[number] += 1
    return distinct


@kernel(counted=False)
def _entropy(counts: _Integers, total: int) -> float:
    weighted = 0.0
    for count in counts:
        if count > 1:
            weighted += count * np.log2(count)
    return max(0.0, np.log2(total) - weighted / total)


@kernel(counted=False)
def _count_repetitions(ends: _Integers, scratch: Scratch, row: npt.NDArray[np.int64]) -> None:
    """The characters in the most frequent n-grams and in those that occurred before.

    Up to `kept`, `positions` holds where n-grams stand that occur more than once, ascending, and `grams` their
    numbers, which count from 0 for each n.
    """
    ids, positions, grams, counts = scratch.ids, scratch.positions, scratch.grams, scratch.counts
    words = len(ends)
    kept = 0
    for word in range(words):
        positions[kept], grams[kept] = word, ids[word]
        kept += int(counts[ids[word]] > 1)
    for n in range(2, _LAST_SIZE + 1):
        if kept == 0 and n > _LAST_TOP_SIZE:
            break
        found, different = _number_ngrams(kept, n, scratch)
        if n <= _LAST_TOP_SIZE and words >= n:
            row[TOP_CHARACTERS + n - 2] = _top(found, different, n, ends, scratch)
        kept = 0
        for each in range(found):
            position, gram = positions[each], grams[each]
            positions[kept], grams[kept] = position, gram
            kept += int(counts[gram] > 1)
        if n > _LAST_TOP_SIZE:
            row[DUPLICATE_CHARACTERS + n - _LAST_TOP_SIZE - 1] = _duplicates(kept, n, ends, scratch)


@kernel(counted=False)
def _number_ngrams(kept: int, n: int, scratch: Scratch) -> tuple[int, int]:
    """From the repeated (n-1)-grams the n-grams that may be repeated: how many they are, and how many different."""
    ids, positions, grams = scratch.ids, scratch.positions, scratch.grams
    counts, keys, slots = scratch.counts, scratch.keys, scratch.slots
    size = table_size(kept)
    slots[:size] = 0
    found = different = 0
    for each in range(kept - 1):
        position = positions[each]
        if positions[each + 1] != position + 1:
            continue
        key = np.uint64(grams[each]) << np.uint64(32) | np.uint64(ids[position + n - 1])
        number = number_key(key, different, keys, slots, size)
        if number == different:
            counts[number] = 0
            different += 1
        counts[number] += 1
        positions[found], grams[found] = position, number
        found += 1
    return found, different


@kernel(counted=False)
def _top(found: int, different: int, n: int, ends: _Integers, scratch: Scratch) -> int:
    """Characters in all occurrences of the most frequent n-gram (the first of several), with a space between words."""
    most, top = 1, -1
    for number in range(different):
        if scratch.counts[number] > most:
            most, top = scratch.counts[number], number
    position = 0
    if top >= 0:
        for each in range(found):
            if scratch.grams[each] == top:
                position = scratch.positions[each]
                break
    return int(most) * (_characters(ends, position, n) + n - 1)


@kernel(counted=False)
def _duplicates(kept: int, n: int, ends: _Integers, scratch: Scratch) -> int:
    """Characters, without spaces, of the n-grams that occurred before, read from the left and none overlapping.

    After one that did, reading goes on behind it; what it passes over counts as not having occurred.
    """
    positions, grams, counts = scratch.positions, scratch.grams, scratch.counts
    characters = following = 0
    for each in range(kept):
        position, gram = positions[each], grams[each]
        if position < following:
            continue
        if counts[gram] == 0:
            characters += _characters(ends, position, n)
            following = position + n
        counts[gram] = 0
    return characters


@kernel(counted=False)
def _characters(ends: _Integers, position: int, n: int) -> int:
    before = 0 if position == 0 else int(ends[position - 1])
    return int(ends[position + n - 1]) - before
