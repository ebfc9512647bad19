"""fastText's model files (`.bin`, and `.ftz`, the quantised form), read into what the kernel of `predict` takes.

Guarantees that a model whose predictions the kernel would not reproduce is refused. It trains nothing, and it
knows no use of the labels.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from llm_assets.errors import LlmAssetsError
from llm_assets.stages.clean.language.predict import NOTHING, FastTextNetwork, hash_word

_MAGIC: Final = 793712314
_VERSION: Final = 12
_SUPERVISED: Final = 3
_HIERARCHICAL_SOFTMAX: Final = 1
_SOFTMAX: Final = 3
_LABEL_PREFIX: Final = b"__label__"
_END_OF_LINE: Final = b"</s>"
_CENTROIDS: Final = 256
_BITS: Final = 64
_UNREACHED: Final = 10**15  # the weight of a node not made yet, as fastText has it


class ModelError(LlmAssetsError, ValueError):
    """A file that is no fastText classifier, or one of a kind that is not evaluated here."""


@dataclass(frozen=True)
class Classifier:
    """A fastText classifier: label number i of `predict` is `labels[i]`, without "__label__".

    Its features are words, their subwords, and n-grams of up to `word_ngrams` words (1: none).
    """

    labels: tuple[str, ...]
    network: FastTextNetwork
    word_ngrams: int


class _ModelReader:
    """Takes numbers, arrays and strings off a file's bytes, in turn."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{layout}", self._data, self._position)
        self._position += struct.calcsize(f"<{layout}")
        return values

    def array(self, dtype: type[np.generic], *shape: int) -> npt.NDArray[Any]:
        count = int(np.prod(shape))
        values = np.frombuffer(self._data, dtype, count, self._position)
        self._position += values.nbytes
        return values.reshape(shape)

    def string(self) -> bytes:
        end = self._data.index(b"\0", self._position)
        value = self._data[self._position : end]
        self._position = end + 1
        return value


@dataclass(frozen=True)
class _Arguments:
    """The training arguments of the model on which predictions depend."""

    word_ngrams: int
    loss: int
    buckets: int
    shortest: int
    longest: int


@dataclass(frozen=True)
class _Dictionary:
    """The words and labels in the order of their rows, and which n-gram buckets have a row.

    `ngrams` (int32[n-grams, 2]) pairs bucket and row, counted from the last word's; None where every bucket has one.
    """

    words: tuple[bytes, ...]
    labels: tuple[str, ...]
    label_counts: tuple[int, ...]
    ngrams: npt.NDArray[np.int32] | None


def read_classifier(data: bytes, *, word_ngrams: bool = False) -> Classifier:
    """The classifier in the bytes of a model file; one with `word_ngrams` for those who ask, as `predict` has none.

    Raises ModelError unless it is a supervised model of format 12 with softmax or hierarchical softmax, and with an
    output layer that is not quantised.
    """
    try:
        classifier = _read(_ModelReader(data))
    except ModelError:
        raise
    except (struct.error, ValueError) as error:
        raise ModelError(f"not a whole fastText model: {len(data)} bytes: {error}") from error
    most = classifier.word_ngrams
    if most > 1 and not word_ngrams:
        raise ModelError(f"it has features of up to {most} words: only single words are evaluated here")
    return classifier


def _read(reader: _ModelReader) -> Classifier:
    arguments = _read_arguments(reader)
    dictionary = _read_dictionary(reader)
    rows = _read_input(reader)
    if reader.take("?")[0]:
        raise ModelError("its output layer is quantised (-qout)")
    output = reader.array(np.float32, *reader.take("qq"))
    present, rows = _order_ngrams(arguments.buckets, dictionary, rows)
    if len(rows) != len(dictionary.words) + int(np.bitwise_count(present).sum()) or rows.shape[1] != output.shape[1]:
        raise ModelError(f"matrices of shapes {rows.shape} and {output.shape} do not fit its dictionary")
    hierarchical = arguments.loss == _HIERARCHICAL_SOFTMAX
    left, right = _tree(dictionary.label_counts) if hierarchical else (np.empty(0, np.int32), np.empty(0, np.int32))
    has_end = _END_OF_LINE in dictionary.words
    network = FastTextNetwork(
        rows=rows,
        word_slots=_hash_table(dictionary.words),
        word_bytes=np.frombuffer(b"".join(dictionary.words), np.uint8),
        word_starts=np.cumsum([0, *map(len, dictionary.words)], dtype=np.int64),
        end_of_line=dictionary.words.index(_END_OF_LINE) if has_end else NOTHING,
        buckets=arguments.buckets,
        present=present,
        ranks=np.cumsum([0, *np.bitwise_count(present)[:-1]], dtype=np.int32),
        shortest=arguments.shortest,
        longest=arguments.longest,
        output=output,
        left=left,
        right=right,
    )
    return Classifier(dictionary.labels, network, arguments.word_ngrams)


def _read_arguments(reader: _ModelReader) -> _Arguments:
    if reader.take("ii") != (_MAGIC, _VERSION):
        raise ModelError(f"it does not begin as fastText models of format {_VERSION} do")
    word_ngrams, loss, kind, buckets, shortest, longest = reader.take("20x6i12x")
    if kind != _SUPERVISED or loss not in (_HIERARCHICAL_SOFTMAX, _SOFTMAX):
        raise ModelError("it is no supervised model with softmax or hierarchical softmax")
    hashed = longest > 0 or word_ngrams > 1
    if hashed and buckets < 1:
        raise ModelError(f"it has n-grams, and {buckets} buckets for them")
    return _Arguments(word_ngrams, loss, buckets if hashed else 0, shortest, longest)


def _read_dictionary(reader: _ModelReader) -> _Dictionary:
    entries, words, labels, pruned = reader.take("iii8xq")
    if words < 0 or labels < 1 or words + labels != entries:
        raise ModelError(f"its dictionary has {words} words and {labels} labels in {entries} entries")
    names: list[bytes] = []
    counts: list[int] = []
    for _ in range(entries):
        names.append(reader.string())
        counts.extend(reader.take("qx"))
    for label in names[words:]:
        if not label.startswith(_LABEL_PREFIX):
            raise ModelError(f"its label {label!r} does not begin with {_LABEL_PREFIX.decode()}")
    return _Dictionary(
        words=tuple(names[:words]),
        labels=tuple(name.removeprefix(_LABEL_PREFIX).decode() for name in names[words:]),
        label_counts=tuple(counts[words:]),
        ngrams=reader.array(np.int32, pruned, 2) if pruned >= 0 else None,
    )


def _read_input(reader: _ModelReader) -> npt.NDArray[np.float32]:
    """The input matrix; a quantised one (product quantisation: Joulin et al. 2016, arXiv:1612.03651) is decoded."""
    if not reader.take("?")[0]:
        return reader.array(np.float32, *reader.take("qq"))
    with_norms, rows, columns, size = reader.take("?qqi")
    matrix = _decode(reader.array(np.uint8, rows, size // max(rows, 1)), columns, reader)
    if with_norms:
        matrix *= _decode(reader.array(np.uint8, rows, 1), 1, reader)
    return matrix


def _decode(codes: npt.NDArray[np.uint8], columns: int, reader: _ModelReader) -> npt.NDArray[np.float32]:
    """The float32[rows, columns] that the codes (uint8[rows, parts]) mean by the centroids, which are read next."""
    _, parts, width, last_width = reader.take("4i")
    matrix = np.empty((len(codes), columns), np.float32)
    for part in range(parts):
        size = last_width if part == parts - 1 else width
        centroids = reader.array(np.float32, _CENTROIDS, size)
        matrix[:, part * width : part * width + size] = centroids[codes[:, part]]
    return matrix


def _order_ngrams(
    buckets: int, dictionary: _Dictionary, rows: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.float32]]:
    """Which buckets have a row, as bits (uint64), and the rows with those of n-grams in the order of the buckets."""
    has_row = np.zeros(-(-buckets // _BITS) * _BITS, np.uint8)
    if dictionary.ngrams is None:
        has_row[:buckets] = 1
    else:
        bucket, row = dictionary.ngrams[np.argsort(dictionary.ngrams[:, 0])].T
        has_row[bucket] = 1
        words = len(dictionary.words)
        rows = rows[np.concatenate([np.arange(words), words + row])]
    return np.packbits(has_row, bitorder="little").view("<u8").astype(np.uint64), np.ascontiguousarray(rows)


def _hash_table(words: Sequence[bytes]) -> npt.NDArray[np.int32]:
    """Each word's number in the first free slot from its hash on, -1 in the free ones; at most half are taken."""
    size = 1 << (2 * len(words) + 1).bit_length()
    slots = np.full(size, NOTHING, np.int32)
    for number, word in enumerate(words):
        slot = int(hash_word(np.frombuffer(word, np.uint8))) % size
        while slots[slot] != NOTHING:
            slot = (slot + 1) % size
        slots[slot] = number
    return slots


def _tree(counts: Sequence[int]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Left and right child of each node of the Huffman tree over the labels, which come by falling count."""
    labels = len(counts)
    weights = [*counts, *[_UNREACHED] * (labels - 1)]
    children = np.full((2, 2 * labels - 1), NOTHING, np.int32)
    leaf, node = labels - 1, labels
    for parent in range(labels, 2 * labels - 1):
        for side in range(2):
            if leaf >= 0 and weights[leaf] < weights[node]:
                children[side, parent], leaf = leaf, leaf - 1
            else:
                children[side, parent], node = node, node + 1
        weights[parent] = sum(weights[child] for child in children[:, parent])
    return children[0], children[1]
