"""The kernel that scores texts with a fastText classifier of words, their n-grams and subwords.

Guarantees the probability that fastText itself gives a label for the text as one line, but for the rounding of sums
(Joulin et al. 2016, arXiv:1607.01759), in time proportional to the bytes and without the GIL. `fasttext.predict` gives
the likeliest label of models of single words; here it is one label's probability, and there may be word n-grams.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from llm_assets.kernels.kernel import kernel
from llm_assets.stages.clean.language.model import Classifier, ModelError, read_classifier
from llm_assets.stages.clean.language.predict import NOTHING, FastTextNetwork, fnv, is_space, ones

_Bytes = npt.NDArray[np.uint8]
_Floats = npt.NDArray[np.float64]
_Ids = npt.NDArray[np.int64]

_NGRAM_FACTOR: Final = np.uint64(116049371)  # fastText's hash of word n-grams
_FNV_START: Final = np.uint32(2166136261)
_END_OF_LINE: Final = np.uint32(3617362777)  # the hash of "</s>"
_WORD_BEGINS: Final = np.uint8(ord("<"))
_WORD_ENDS: Final = np.uint8(ord(">"))
_LABEL: Final = b"__label__"
_END: Final = b"</s>"
_IDS: Final = 1 << 10  # rows to find before they are added
_ONE: Final = np.uint64(1)
_LOW_SIX: Final = np.uint64(63)
_SIX: Final = np.uint64(6)


def read_ngram_classifier(data: bytes) -> Classifier:
    """The classifier in the bytes of a fastText model file (`.bin` or `.ftz`).

    Raises ModelError unless it is a supervised softmax model with an output layer that is not quantised.
    """
    classifier = read_classifier(data, word_ngrams=True)
    if len(classifier.network.left):
        raise ModelError(
            "its loss is hierarchical softmax, for many labels; a quality model has softmax (-loss softmax)"
        )
    return classifier


@kernel
def label_probabilities(
    offsets: npt.NDArray[np.int64], data: _Bytes, network: FastTextNetwork, word_ngrams: int, label: int
) -> _Floats:
    """The probability of a label for each text `data[offsets[i]:offsets[i + 1]]`, float64 [documents].

    It is 0 where the network has no row for anything in the text. As in fastText, white space of any kind separates
    words, and what begins with "__label__" is no word; "</s>" within the text is none either.
    """
    probabilities = np.zeros(len(offsets) - 1, np.float64)
    total = np.zeros(network.rows.shape[1], np.float64)
    grams = np.zeros(word_ngrams + 1, np.uint64)
    ids = np.empty(_IDS + word_ngrams + network.longest, np.int64)
    for text in range(len(probabilities)):
        total[:] = 0
        rows = _add_text(data, offsets[text], offsets[text + 1], network, word_ngrams, grams, ids, total)
        if rows:
            probabilities[text] = _softmax(network.output, total / rows, label)
    return probabilities


@kernel
def _add_text(
    data: _Bytes,
    position: int,
    end: int,
    network: FastTextNetwork,
    word_ngrams: int,
    grams: npt.NDArray[np.uint64],
    ids: _Ids,
    total: _Floats,
) -> int:
    """Add the rows of a text's words, subwords and word n-grams, and of its end, to `total`; how many they are.

    `grams` is room for the hash of the last k words, at k; `ids` for the numbers of some rows.
    """
    rows = found = words = 0
    while position < end:
        if is_space(data[position]):
            position += 1
            continue
        start = position
        state = _FNV_START
        while position < end and not is_space(data[position]):
            state = fnv(state, data[position])
            position += 1
        if _is_no_word(data, start, position):
            continue
        if found > _IDS:
            rows, found = rows + _add_rows(network.rows, ids, found, total), 0
        ids[found] = _find_word(data, start, position, state, network)
        found += ids[found] != NOTHING
        if network.longest >= max(network.shortest, 1):
            more, found = _find_subwords(data, start, position, network, ids, found, total)
            rows += more
        found = _find_word_ngrams(state, words, network, word_ngrams, grams, ids, found)
        words += 1
    rows, found = rows + _add_rows(network.rows, ids, found, total), 0
    ids[found] = network.end_of_line
    found += ids[found] != NOTHING
    found = _find_word_ngrams(_END_OF_LINE, words, network, word_ngrams, grams, ids, found)
    return rows + _add_rows(network.rows, ids, found, total)


@kernel(inline="always")
def _is_no_word(data: _Bytes, start: int, end: int) -> bool:
    """Whether this is a label or an end of line."""
    if data[start] == _LABEL[0]:
        return _begins(data, start, end, _LABEL)
    return bool(data[start] == _END[0]) and end - start == len(_END) and _begins(data, start, end, _END)


@kernel
def _begins(data: _Bytes, start: int, end: int, prefix: bytes) -> bool:
    if end - start < len(prefix):
        return False
    different = 0
    for position in range(len(prefix)):
        different += data[start + position] != prefix[position]
    return different == 0


@kernel(inline="always")
def _find_word(data: _Bytes, start: int, end: int, state: np.uint32, network: FastTextNetwork) -> int:
    last = len(network.word_slots) - 1
    slot = np.int64(state) & last
    while network.word_slots[slot] != NOTHING:
        number = network.word_slots[slot]
        first = network.word_starts[number]
        if network.word_starts[number + 1] - first == end - start:
            position = 0
            while position < end - start and network.word_bytes[first + position] == data[start + position]:
                position += 1
            if position == end - start:
                return int(number)
        slot = (slot + 1) & last
    return NOTHING


@kernel(inline="always")
def _find_word_ngrams(
    state: np.uint32,
    words: int,
    network: FastTextNetwork,
    word_ngrams: int,
    grams: npt.NDArray[np.uint64],
    ids: _Ids,
    found: int,
) -> int:
    """Append the rows of the n-grams that end in a word of that hash, before which there are `words` words."""
    hashed = np.uint64(np.int64(np.int32(state)))  # fastText keeps it as a signed number of 32 bits
    for size in range(min(word_ngrams, words + 1), 1, -1):
        grams[size] = grams[size - 1] * _NGRAM_FACTOR + hashed
        ids[found] = _bucket_row(grams[size] % np.uint64(network.buckets), network)
        found += ids[found] != NOTHING
    grams[1] = hashed
    return found


@kernel
def _find_subwords(
    data: _Bytes, start: int, end: int, network: FastTextNetwork, ids: _Ids, found: int, total: _Floats
) -> tuple[int, int]:
    """Append the rows of the character n-grams of "<word>".

    Where there is no more room, what was found is added to `total`: how many that were, and how many are there now.
    """
    rows, size = 0, end - start + 2
    for first in range(size):
        if _padded(data, start, end, first) & 0xC0 == 0x80:
            continue
        if found > _IDS:
            rows, found = rows + _add_rows(network.rows, ids, found, total), 0
        state, position = _FNV_START, first
        for characters in range(1, network.longest + 1):
            if position >= size:
                break
            state = fnv(state, _padded(data, start, end, position))
            position += 1
            while position < size and _padded(data, start, end, position) & 0xC0 == 0x80:
                state = fnv(state, _padded(data, start, end, position))
                position += 1
            if characters < network.shortest or (characters == 1 and (first == 0 or position == size)):
                continue
            ids[found] = _bucket_row(np.uint64(state % np.uint32(network.buckets)), network)
            found += ids[found] != NOTHING
    return rows, found


@kernel(inline="always")
def _padded(data: _Bytes, start: int, end: int, position: int) -> np.uint8:
    """A byte of "<word>"."""
    if position == 0:
        return _WORD_BEGINS
    return data[start + position - 1] if position <= end - start else _WORD_ENDS


@kernel(inline="always")
def _bucket_row(bucket: np.uint64, network: FastTextNetwork) -> np.int64:
    """The row of a bucket; -1 where it has none."""
    words = len(network.word_starts) - 1
    if len(network.rows) == words + network.buckets:
        return np.int64(words + np.int64(bucket))
    bits, bit = network.present[bucket >> _SIX], bucket & _LOW_SIX
    if not (bits >> bit) & _ONE:
        return np.int64(NOTHING)
    return np.int64(words + network.ranks[bucket >> _SIX] + ones(bits & ((_ONE << bit) - _ONE)))


@kernel
def _add_rows(rows: npt.NDArray[np.float32], ids: _Ids, count: int, total: _Floats) -> int:
    """Add rows to `total`; how many they are."""
    for place in range(count):
        row = ids[place]
        for column in range(len(total)):
            total[column] += rows[row, column]
    return count


@kernel
def _softmax(output: npt.NDArray[np.float32], hidden: _Floats, label: int) -> float:
    scores = np.zeros(len(output), np.float64)
    for each in range(len(output)):
        for column in range(len(hidden)):
            scores[each] += hidden[column] * output[each, column]
    highest = scores.max()
    return float(np.exp(scores[label] - highest) / np.exp(scores - highest).sum())
