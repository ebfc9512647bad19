"""The kernel that evaluates a fastText classifier: the likeliest label of every text, and its probability.

Guarantees what `fasttext.predict` says of the text as one line (Joulin et al. 2016, arXiv:1607.01759; subwords as in
Bojanowski et al. 2016, arXiv:1607.04606), probabilities but for the rounding of their sums, in time proportional to
the bytes, and that a text's result does not depend on the texts beside it. How a model file becomes a `FastTextNetwork`
is `model`'s business.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from llm_assets.kernels.kernel import kernel

NOTHING: Final = -1

_Bytes = npt.NDArray[np.uint8]
_Floats = npt.NDArray[np.float32]
_Indices = npt.NDArray[np.int32]
_Words64 = npt.NDArray[np.uint64]

# FNV-1a of 32 bits, in which fastText takes the bytes as signed.
_FNV_START: Final = np.uint32(2166136261)
_FNV_PRIME: Final = np.uint32(16777619)
_WORD_BEGINS: Final = np.uint8(ord("<"))
_WORD_ENDS: Final = np.uint8(ord(">"))
_ONE: Final = np.uint64(1)
_LOW_SIX: Final = np.uint64(63)
_SIX: Final = np.uint64(6)

# Words recur, so the sums of the rows of short ones are kept: 8,192 sums of 16 numbers stay within the L2 cache.
_KEPT_SUMS: Final = 1 << 13
_KEPT_SIZE: Final = 16

# Room for a word and for the rows it has; a longer word gets more of the one, and uses the other several times.
_PADDED: Final = 1 << 12
_IDS: Final = 1 << 10

_EPSILON: Final = 1e-5  # what fastText adds before it takes a logarithm


class FastTextNetwork(NamedTuple):
    """A classifier as the kernel takes it (a named tuple of arrays and integers).

    `rows` (float32[words + n-grams, dimension]) is the input matrix, words first. Word w is
    `word_bytes[word_starts[w]:word_starts[w + 1]]`, to be found in `word_slots` (int32[a power of two]) from its
    hash on; `end_of_line` is the row of "</s>", or -1. The n-gram of bucket b has row
    `words + ranks[b // 64] + (ones below bit b % 64 of present[b // 64])` if that bit is set, else none.

    `output` is float32[labels, dimension]; where there is a tree (`left` and `right`, int32[2 * labels - 1], root
    last, leaves first and without children), row i belongs to its node labels + i. No tree: softmax.
    """

    rows: _Floats
    word_slots: _Indices
    word_bytes: _Bytes
    word_starts: npt.NDArray[np.int64]
    end_of_line: int
    buckets: int
    present: _Words64
    ranks: _Indices
    shortest: int
    longest: int
    output: _Floats
    left: _Indices
    right: _Indices


class _Sums(NamedTuple):
    """The sum of the rows of a word of at most 16 bytes, kept by hash: `low` and `high` are its bytes."""

    low: _Words64
    high: _Words64
    sizes: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    sums: _Floats


@kernel(inline="always")
def fnv(state: np.uint32, byte: np.uint8) -> np.uint32:
    """One more byte of fastText's hash."""
    return np.uint32((state ^ np.uint32(np.int8(byte))) * _FNV_PRIME)


@kernel
def hash_word(word: _Bytes) -> np.uint32:
    """fastText's hash of some bytes."""
    state = _FNV_START
    for byte in word:
        state = fnv(state, byte)
    return state


@kernel
def predict(
    starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], data: _Bytes, network: FastTextNetwork
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """The most likely label (int32) of each text `data[starts[i]:ends[i]]`, and its probability (float64).

    White space of any kind separates words, line ends too; "</s>" in the text is no word. The label is -1, and the
    probability 0, of a text for which the network has no row at all.
    """
    labels = np.full(len(starts), NOTHING, np.int32)
    probabilities = np.zeros(len(starts), np.float64)
    dimension = network.rows.shape[1]
    kept = _Sums(
        np.zeros(_KEPT_SUMS, np.uint64),
        np.zeros(_KEPT_SUMS, np.uint64),
        np.zeros(_KEPT_SUMS, np.int64),
        np.zeros(_KEPT_SUMS, np.int64),
        np.zeros((_KEPT_SUMS, dimension), np.float32),
    )
    total = np.zeros(dimension, np.float64)
    nodes = np.zeros(len(network.left) + 1, np.int32)
    scores = np.zeros(max(len(network.left) + 1, len(network.output)), np.float32)
    for text in range(len(starts)):
        total[:] = 0
        rows = _add_words(data[starts[text] : ends[text]], network, kept, total)
        if rows == 0:
            continue
        hidden = (total / rows).astype(np.float32)
        if len(network.left):
            labels[text], probabilities[text] = _best_leaf(network, hidden, nodes, scores)
        else:
            labels[text], probabilities[text] = _softmax(network, hidden, scores)
    return labels, probabilities


@kernel
def _add_words(text: _Bytes, network: FastTextNetwork, kept: _Sums, total: npt.NDArray[np.float64]) -> int:
    """Add the rows of all words of a text, and of the end of its line, to `total`; how many they are."""
    rows = position = 0
    word = np.empty(len(total), np.float32)
    padded = np.empty(_PADDED, np.uint8)
    ids = np.empty(_IDS + network.longest, np.int32)
    while position < len(text):
        if is_space(text[position]):
            position += 1
            continue
        start = position
        state = _FNV_START
        low = high = np.uint64(0)
        while position < len(text) and not is_space(text[position]):
            byte = text[position]
            state = fnv(state, byte)
            if position - start < 8:
                low = low << np.uint64(8) | byte
            else:
                high = high << np.uint64(8) | byte
            position += 1
        size = position - start

        slot = np.int64(state & np.uint32(_KEPT_SUMS - 1))
        if kept.sizes[slot] == size and kept.low[slot] == low and kept.high[slot] == high:
            rows += kept.rows[slot]
            for column in range(len(total)):
                total[column] += kept.sums[slot, column]
            continue

        if size + 2 > len(padded):
            padded = np.empty(2 * size, np.uint8)
        padded[0] = _WORD_BEGINS
        padded[1 : size + 1] = text[start:position]
        padded[size + 1] = _WORD_ENDS
        word[:] = 0
        added = _add_word(padded, size + 2, state, network, ids, word)
        rows += added
        for column in range(len(total)):
            total[column] += word[column]
        if size <= _KEPT_SIZE:
            kept.sizes[slot], kept.low[slot], kept.high[slot], kept.rows[slot] = size, low, high, added
            kept.sums[slot] = word
    if network.end_of_line != NOTHING:
        for column in range(len(total)):
            total[column] += network.rows[network.end_of_line, column]
        rows += 1
    return rows


@kernel(inline="always")
def is_space(byte: np.uint8) -> bool:
    """Whether a byte separates words."""
    return bool(byte == 0x20 or 0x09 <= byte <= 0x0D or byte == 0)


@kernel(inline="always")
def _add_word(
    padded: _Bytes, size: int, state: np.uint32, network: FastTextNetwork, ids: _Indices, total: _Floats
) -> int:
    """Add the rows of a word, "<word>" of `size` bytes in `padded`, and of its n-grams to `total`; how many they are.

    "</s>" and labels have none. `ids` is room for the numbers of some rows.
    """
    row = _find_word(padded, size, state, network)
    if (row == network.end_of_line and row != NOTHING) or _is_label(padded, size):
        return 0
    added = found = 0
    if row != NOTHING:
        ids[0] = row
        found = 1
    words, buckets = len(network.word_starts) - 1, np.uint32(network.buckets)
    for first in range(size):
        byte = padded[first]
        if byte & 0xC0 == 0x80:
            continue
        if found + network.longest > len(ids):
            _add_rows(network.rows, ids, found, total)
            added, found = added + found, 0
        state = _FNV_START
        position = first
        for characters in range(1, network.longest + 1):
            if position >= size:
                break
            byte = padded[position]
            state = fnv(state, byte)
            position += 1
            if byte >= 0xC0:
                while position < size and padded[position] & 0xC0 == 0x80:
                    state = fnv(state, padded[position])
                    position += 1
            if characters < network.shortest or (characters == 1 and (first == 0 or position == size)):
                continue
            bucket = np.uint64(state % buckets)
            bits = network.present[bucket >> _SIX]
            bit = bucket & _LOW_SIX
            # Written whether there is such a row or not, then counted if there is: a branch would be guessed wrong.
            ids[found] = words + network.ranks[bucket >> _SIX] + ones(bits & ((_ONE << bit) - _ONE))
            found += int((bits >> bit) & _ONE)
    _add_rows(network.rows, ids, found, total)
    return added + found


@kernel(inline="always")
def _add_rows(rows: _Floats, ids: _Indices, count: int, total: _Floats) -> None:
    for row in ids[:count]:
        for column in range(len(total)):
            total[column] += rows[row, column]


@kernel(inline="always")
def _find_word(padded: _Bytes, size: int, state: np.uint32, network: FastTextNetwork) -> int:
    last = len(network.word_slots) - 1
    slot = np.int64(state) & last
    while network.word_slots[slot] != NOTHING:
        word = network.word_slots[slot]
        first = network.word_starts[word]
        if network.word_starts[word + 1] - first == size - 2:
            different = 0
            for byte in range(size - 2):
                different += network.word_bytes[first + byte] != padded[1 + byte]
            if different == 0:
                return int(word)
        slot = (slot + 1) & last
    return NOTHING


@kernel(inline="always")
def _is_label(padded: _Bytes, size: int) -> bool:
    """Whether the word begins with "__label__": fastText reads no features from it."""
    prefix = b"__label__"
    if size - 2 < len(prefix):
        return False
    different = 0
    for position in range(len(prefix)):
        different += padded[1 + position] != prefix[position]
    return different == 0


@kernel
def ones(bits: np.uint64) -> np.int64:
    """How many bits are set."""
    count = np.int64(0)
    while bits:
        bits &= bits - _ONE
        count += 1
    return count


@kernel
def _dot(left: _Floats, right: _Floats) -> np.float32:
    total = np.float32(0)
    for column in range(len(left)):
        total += left[column] * right[column]
    return total


@kernel
def _best_leaf(network: FastTextNetwork, hidden: _Floats, nodes: _Indices, scores: _Floats) -> tuple[int, float]:
    """The likeliest leaf of the tree: depth first, likelier child first, no branch below the best leaf so far."""
    labels = len(network.output)
    best, best_score = NOTHING, np.float32(-np.inf)
    nodes[0], scores[0] = len(network.left) - 1, np.float32(0)
    waiting = 1
    while waiting:
        waiting -= 1
        node, score = nodes[waiting], scores[waiting]
        if score < best_score:
            continue
        if network.left[node] == NOTHING:
            best, best_score = node, score
            continue
        share = np.float32(1 / (1 + np.exp(-_dot(hidden, network.output[node - labels]))))
        left = np.float32(score + np.log(1 - share + _EPSILON))
        right = np.float32(score + np.log(share + _EPSILON))
        likelier = int(left > right)
        nodes[waiting + likelier], scores[waiting + likelier] = network.left[node], left
        nodes[waiting + 1 - likelier], scores[waiting + 1 - likelier] = network.right[node], right
        waiting += 2
    return best, min(np.exp(np.float64(best_score)), 1.0)


@kernel
def _softmax(network: FastTextNetwork, hidden: _Floats, scores: _Floats) -> tuple[int, float]:
    labels, best = len(network.output), 0
    for label in range(labels):
        scores[label] = _dot(hidden, network.output[label])
        if scores[label] > scores[best]:
            best = label
    total = 0.0
    for label in range(labels):
        total += np.exp(np.float64(scores[label] - scores[best]))
    return best, 1 / total
