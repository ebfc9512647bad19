"""Numbers about each document, in one pass over its bytes; no Python object per document or word.

Guarantees that every statistic means what its entry in `STATISTICS` says, in terms of Python's `str`, and that
it depends on the document alone. It compares nothing with a threshold: that is `judge`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from llm_assets.stages.clean import count
from llm_assets.stages.clean.texts import text_buffers
from llm_assets.stages.clean.unicode_classes import class_table


@dataclass(frozen=True)
class Statistic:
    """A number measured of every document: its name, its Arrow type, and what exactly it is."""

    name: str
    type: pa.DataType
    meaning: str


STATISTICS: Final = (
    Statistic("bytes", pa.int64(), "bytes of the text in UTF-8"),
    Statistic("characters", pa.int64(), "code points: len(text)"),
    Statistic("lines", pa.int64(), "len(text.splitlines()): blank lines count, an empty text has none"),
    Statistic("words", pa.int64(), "len(text.split())"),
    Statistic("non_symbol_words", pa.int64(), "words with a character that `is_symbol` denies"),
    Statistic("stop_words", pa.int64(), "how many different stop words are a word of the text, case and all"),
    Statistic("mean_word_length", pa.float64(), "characters per word, over the non-symbol words"),
    Statistic("hash_ratio", pa.float64(), "text.count('#') per word"),
    Statistic("ellipsis_ratio", pa.float64(), "text.count('...') + text.count('…') per word"),
    Statistic("bullet_line_fraction", pa.float64(), "lines whose first non-space is '•' or '-'"),
    Statistic("ellipsis_line_fraction", pa.float64(), "lines that end, but for spaces, with '...' or '…'"),
    Statistic("alphabetic_word_fraction", pa.float64(), "words with a character that str.isalpha grants"),
    Statistic("digit_fraction", pa.float64(), "characters that str.isdigit grants"),
    Statistic("upper_case_fraction", pa.float64(), "characters that str.isupper grants"),
    Statistic("space_fraction", pa.float64(), "characters that str.isspace grants"),
)
"""Every statistic, in the order of the struct's fields. A ratio or mean over nothing is 0."""

STATISTICS_TYPE: Final = pa.struct([pa.field(each.name, each.type) for each in STATISTICS])


def measure(texts: pa.LargeStringArray, stop_words: count.StopWords) -> pa.StructArray:
    """Statistics of each text: a struct array of `STATISTICS_TYPE`, as long as `texts`.

    Raises TypeError and ValueError as `text_buffers` does. The texts are valid UTF-8, as Arrow's are; of others
    the numbers mean nothing, and no byte outside the text is read.
    """
    offsets, data = text_buffers(texts)
    counts = count.count(offsets, data, class_table(), stop_words)
    columns = _statistics(np.diff(offsets), counts)
    arrays = [pa.array(columns[each.name], each.type) for each in STATISTICS]
    return pa.StructArray.from_arrays(arrays, fields=list(STATISTICS_TYPE))


def _statistics(sizes: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
    characters, lines, words = counts[:, count.CHARACTERS], counts[:, count.LINES], counts[:, count.WORDS]
    return {
        "bytes": sizes,
        "characters": characters,
        "lines": lines,
        "words": words,
        "non_symbol_words": counts[:, count.NON_SYMBOL_WORDS],
        "stop_words": counts[:, count.STOP_WORDS],
        "mean_word_length": _ratio(counts[:, count.NON_SYMBOL_CHARACTERS], counts[:, count.NON_SYMBOL_WORDS]),
        "hash_ratio": _ratio(counts[:, count.HASHES], words),
        "ellipsis_ratio": _ratio(counts[:, count.ELLIPSES], words),
        "bullet_line_fraction": _ratio(counts[:, count.BULLET_LINES], lines),
        "ellipsis_line_fraction": _ratio(counts[:, count.ELLIPSIS_LINES], lines),
        "alphabetic_word_fraction": _ratio(counts[:, count.ALPHABETIC_WORDS], words),
        "digit_fraction": _ratio(counts[:, count.DIGITS], characters),
        "upper_case_fraction": _ratio(counts[:, count.UPPERS], characters),
        "space_fraction": _ratio(counts[:, count.SPACES], characters),
    }


def _ratio(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole != 0)
