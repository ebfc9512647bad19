"""Numbers about each document, in one pass over a column; no Python object per document or word.

Guarantees that every statistic means what its entry in `STATISTICS` says, in terms of Python's `str`, and that
it depends on the document alone. It compares nothing with a threshold: that is `judge`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from llm_assets.kernels.unicode_classes import class_table
from llm_assets.stages.clean.edit import phrases
from llm_assets.stages.clean.measure import count, lines, ngrams
from llm_assets.stages.clean.measure.statistics import (
    DUPLICATE_SIZES,
    STATISTICS,
    STATISTICS_TYPE,
    TOP_SIZES,
    WordSplit,
)
from llm_assets.stages.clean.texts import text_buffers
from llm_assets.stages.clean.words.marks import splitter

_STRIDE: Final = 1 << 17  # Bytes: what is written down of the words should still be in the cache when it is read.
# Of an entropy: machines whose logarithms differ in the last bit still agree.
_DECIMALS: Final = 9
_MAX_BYTES: Final = (1 << 31) - 1

_Columns = dict[str, npt.NDArray[Any]]
_Counts = npt.NDArray[np.int64]
_Values = npt.NDArray[np.float64]


def measure(
    texts: pa.LargeStringArray, stop_words: count.StopWords, words: WordSplit = "white_space"
) -> pa.StructArray:
    """Statistics of each text, with words split so: a struct array of `STATISTICS_TYPE`, as long as `texts`.

    Raises TypeError and ValueError as `text_buffers` does, and ValueError for a text of 2 GiB or more. The texts are
    valid UTF-8, as Arrow's are; of others the numbers mean nothing, and no byte outside the text matters.
    """
    offsets, data = text_buffers(texts)
    sizes = np.diff(offsets)
    if len(sizes) and sizes.max() > _MAX_BYTES:
        raise ValueError(f"a text of {sizes.max():,} bytes: at most {_MAX_BYTES:,} can be measured")
    counted = _Words(offsets, data, stop_words, words)
    line_counts = lines.count_lines(offsets, data, class_table(), count.SPACE, count.TERMINAL)
    phrase_counts, entropies = phrases.count_phrases(offsets, data)
    columns = {
        "bytes": sizes,
        **_word_statistics(counted.counts),
        **_character_statistics(counted.counts, phrase_counts),
        **_line_statistics(line_counts, counted.counts),
        **_ngram_statistics(counted.ngrams, counted.counts),
        "word_entropy": np.round(counted.entropies, _DECIMALS),
        "entropy": np.round(entropies, _DECIMALS),
        **_phrase_statistics(phrase_counts),
    }
    arrays = [pa.array(columns[each.name], each.type) for each in STATISTICS]
    return pa.StructArray.from_arrays(arrays, fields=list(STATISTICS_TYPE))


class _Words:
    """Run `count` and `ngrams` on a few documents at a time: the first finds the words for the second."""

    def __init__(
        self,
        offsets: npt.NDArray[np.int64],
        data: npt.NDArray[np.uint8],
        stop_words: count.StopWords,
        split: WordSplit,
    ) -> None:
        documents = len(offsets) - 1
        at_marks = splitter(int(np.diff(offsets).max(initial=0))) if split == "punctuation" else None
        self.counts = np.zeros((documents, count.COLUMNS), np.int64)
        self.ngrams = np.zeros((documents, ngrams.COLUMNS), np.int64)
        self.entropies = np.zeros(documents, np.float64)
        scratch = ngrams.Scratch.of(0)
        for group in _groups(offsets):
            bounds = offsets[group.start : group.stop + 1]
            # At most: most of this memory is never touched, and so never taken.
            room = int(bounds[-1] - bounds[0]) // (1 if at_marks else 2) + len(bounds)
            places = np.empty((3, room), np.int32)
            starts, sizes, ends = places
            self.counts[group], words = count.count(
                bounds, data, class_table(), stop_words, starts, sizes, ends, at_marks
            )
            longest = int(np.diff(words).max())
            if longest > len(scratch.ids):
                scratch = ngrams.Scratch.of(2 * longest)
            self.ngrams[group], self.entropies[group] = ngrams.count_ngrams(
                bounds, data, ngrams.Words(words, starts, sizes, ends), scratch
            )


def _groups(offsets: npt.NDArray[np.int64]) -> Iterator[slice]:
    """Documents in order, in groups of about `_STRIDE` bytes, of at least one each."""
    start, documents = 0, len(offsets) - 1
    while start < documents:
        stop = int(np.searchsorted(offsets, offsets[start] + _STRIDE, side="right")) - 1
        stop = min(max(stop, start + 1), documents)
        yield slice(start, stop)
        start = stop


def _word_statistics(counts: _Counts) -> _Columns:
    split_lines, words = counts[:, count.LINES], counts[:, count.WORDS]
    return {
        "characters": counts[:, count.CHARACTERS],
        "lines": split_lines,
        "words": words,
        "non_symbol_words": counts[:, count.NON_SYMBOL_WORDS],
        "stop_words": counts[:, count.STOP_WORDS],
        "mean_word_length": _ratio(counts[:, count.NON_SYMBOL_CHARACTERS], counts[:, count.NON_SYMBOL_WORDS]),
        "ellipsis_ratio": _ratio(counts[:, count.ELLIPSES], words),
        "bullet_line_fraction": _ratio(counts[:, count.BULLET_LINES], split_lines),
        "ellipsis_line_fraction": _ratio(counts[:, count.ELLIPSIS_LINES], split_lines),
        "alphabetic_word_fraction": _ratio(counts[:, count.ALPHABETIC_WORDS], words),
        "longest_word": counts[:, count.LONGEST_WORD],
        "upper_case_word_fraction": _ratio(counts[:, count.UPPER_WORDS], words),
        "sentences": counts[:, count.SENTENCES],
        "terminal_line_fraction": _ratio(counts[:, count.TERMINAL_LINES], split_lines),
    }


def _character_statistics(counts: _Counts, of_bytes: _Counts) -> _Columns:
    characters = counts[:, count.CHARACTERS]
    digits = counts[:, count.FOREIGN_DIGITS] + of_bytes[:, phrases.ASCII_DIGITS]
    uppers = counts[:, count.FOREIGN_UPPERS] + of_bytes[:, phrases.ASCII_UPPERS]
    return {
        "hash_ratio": _ratio(of_bytes[:, phrases.HASHES], counts[:, count.WORDS]),
        "digit_fraction": _ratio(digits, characters),
        "upper_case_fraction": _ratio(uppers, characters),
        "space_fraction": _ratio(counts[:, count.SPACES], characters),
    }


def _line_statistics(counts: _Counts, of_words: _Counts) -> _Columns:
    characters, words = of_words[:, count.CHARACTERS], of_words[:, count.WORDS]
    newlines, full = counts[:, lines.LINE_FEEDS], counts[:, lines.FULL_LINES]
    runs, paragraphs = counts[:, lines.RUNS], counts[:, lines.PARAGRAPHS]
    return {
        "newline_ratio": _ratio(newlines, words),
        "longest_line": counts[:, lines.LONGEST_LINE],
        "mean_line_length": _ratio(counts[:, lines.FULL_LINE_CHARACTERS], full),
        "short_line_fraction": _ratio(counts[:, lines.SHORT_LINES], full),
        "punctuated_line_fraction": _ratio(counts[:, lines.PUNCTUATED_LINES], full),
        "repeated_line_character_fraction": _ratio(
            counts[:, lines.DUPLICATE_FULL_LINE_CHARACTERS], characters - newlines
        ),
        "duplicate_line_fraction": _ratio(counts[:, lines.DUPLICATE_RUNS], runs),
        "duplicate_line_character_fraction": _ratio(counts[:, lines.DUPLICATE_RUN_CHARACTERS], characters),
        "paragraphs": paragraphs,
        "duplicate_paragraph_fraction": _ratio(counts[:, lines.DUPLICATE_PARAGRAPHS], paragraphs),
        "duplicate_paragraph_character_fraction": _ratio(counts[:, lines.DUPLICATE_PARAGRAPH_CHARACTERS], characters),
    }


def _ngram_statistics(counts: _Counts, of_words: _Counts) -> _Columns:
    characters, words = of_words[:, count.CHARACTERS], of_words[:, count.WORDS]
    top = counts[:, ngrams.TOP_CHARACTERS :]
    duplicates = counts[:, ngrams.DUPLICATE_CHARACTERS :]
    return {
        "unique_word_fraction": _ratio(counts[:, ngrams.DISTINCT_WORDS], words),
        **{
            f"top_{n}_gram_character_fraction": _ratio(top[:, number], characters) for number, n in enumerate(TOP_SIZES)
        },
        **{
            f"duplicate_{n}_gram_character_fraction": _ratio(duplicates[:, number], characters)
            for number, n in enumerate(DUPLICATE_SIZES)
        },
    }


def _phrase_statistics(counts: _Counts) -> _Columns:
    return {
        "curly_brackets": counts[:, phrases.CURLY_BRACKETS],
        "urls": counts[:, phrases.URLS],
        "javascript": counts[:, phrases.JAVASCRIPT],
        "lorem_ipsum": counts[:, phrases.LOREM_IPSUM],
        "policy_phrases": counts[:, phrases.POLICY_PHRASES],
    }


def _ratio(part: _Counts, whole: _Counts) -> _Values:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole != 0)
