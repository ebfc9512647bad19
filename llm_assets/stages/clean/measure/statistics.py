"""Which numbers are measured of a document, and what each means exactly. How they are measured is for `measure`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import pyarrow as pa

from llm_assets.kernels.arrow import column

TOP_SIZES: Final = (2, 3, 4)
DUPLICATE_SIZES: Final = (5, 6, 7, 8, 9, 10)
"""Words of the n-grams whose top one is looked for, and of those whose repetitions are."""

WordSplit = Literal["white_space", "punctuation"]
"""Separators of words: white space alone, or punctuation marks too, which then count as words (`punctuation`)."""


@dataclass(frozen=True)
class MeasuredStatistic:
    """A number measured of every document: its name, its Arrow type, and what exactly it is."""

    name: str
    type: pa.DataType
    meaning: str


STATISTICS: Final = (
    MeasuredStatistic("bytes", pa.int64(), "bytes of the text in UTF-8"),
    MeasuredStatistic("characters", pa.int64(), "code points: len(text)"),
    MeasuredStatistic("lines", pa.int64(), "len(text.splitlines()): blank lines count, an empty text has none"),
    MeasuredStatistic("words", pa.int64(), "len(text.split()), or the words that `punctuation` finds"),
    MeasuredStatistic("non_symbol_words", pa.int64(), "words with a character that `is_symbol` denies"),
    MeasuredStatistic("stop_words", pa.int64(), "how many different stop words are a word of the text, case and all"),
    MeasuredStatistic("mean_word_length", pa.float64(), "characters per word, over the non-symbol words"),
    MeasuredStatistic("hash_ratio", pa.float64(), "text.count('#') per word"),
    MeasuredStatistic("ellipsis_ratio", pa.float64(), "text.count('...') + text.count('…') per word"),
    MeasuredStatistic("bullet_line_fraction", pa.float64(), "lines whose first non-space is '•' or '-'"),
    MeasuredStatistic("ellipsis_line_fraction", pa.float64(), "lines that end, but for spaces, with '...' or '…'"),
    MeasuredStatistic("alphabetic_word_fraction", pa.float64(), "words with a character that str.isalpha grants"),
    MeasuredStatistic("digit_fraction", pa.float64(), "characters that str.isdigit grants"),
    MeasuredStatistic("upper_case_fraction", pa.float64(), "characters that str.isupper grants"),
    MeasuredStatistic("space_fraction", pa.float64(), "characters that str.isspace grants"),
    MeasuredStatistic("longest_word", pa.int64(), "characters of the longest word"),
    MeasuredStatistic("upper_case_word_fraction", pa.float64(), "words of which str.isupper grants every character"),
    MeasuredStatistic(
        "sentences", pa.int64(), "per line, ends of sentences, and the rest of the line where it has words"
    ),
    MeasuredStatistic(
        "terminal_line_fraction", pa.float64(), "lines that end, but for spaces, with one of .?!\"' and not ..."
    ),
    MeasuredStatistic("newline_ratio", pa.float64(), "text.count('\\n') per word"),
    MeasuredStatistic("longest_line", pa.int64(), "characters of the longest line between line feeds"),
    MeasuredStatistic("mean_line_length", pa.float64(), "characters per full line"),
    MeasuredStatistic("short_line_fraction", pa.float64(), "full lines of at most 30 characters"),
    MeasuredStatistic("punctuated_line_fraction", pa.float64(), "full lines whose very last character `is_terminal`"),
    MeasuredStatistic(
        "repeated_line_character_fraction", pa.float64(), "in full lines that occurred before, of all but '\\n'"
    ),
    MeasuredStatistic(
        "duplicate_line_fraction", pa.float64(), "of re.split(r'\\n+', text), those that occurred before"
    ),
    MeasuredStatistic("duplicate_line_character_fraction", pa.float64(), "characters in them, of all"),
    MeasuredStatistic(
        "paragraphs", pa.int64(), "how many re.split(r'\\n{2,}', text.strip()) yields that are not empty"
    ),
    MeasuredStatistic("duplicate_paragraph_fraction", pa.float64(), "of the paragraphs, those that occurred before"),
    MeasuredStatistic("duplicate_paragraph_character_fraction", pa.float64(), "characters in them, of all"),
    *(
        MeasuredStatistic(
            f"top_{n}_gram_character_fraction", pa.float64(), f"all occurrences of the top {n}-gram, of all"
        )
        for n in TOP_SIZES
    ),
    *(
        MeasuredStatistic(
            f"duplicate_{n}_gram_character_fraction", pa.float64(), f"{n}-grams that occurred before, of all"
        )
        for n in DUPLICATE_SIZES
    ),
    MeasuredStatistic("unique_word_fraction", pa.float64(), "different words, of the words"),
    MeasuredStatistic("word_entropy", pa.float64(), "bits per word, were words drawn as often as they occur"),
    MeasuredStatistic("entropy", pa.float64(), "bits per byte of UTF-8, were bytes drawn as often as they occur"),
    MeasuredStatistic("curly_brackets", pa.int64(), "text.count('{')"),
    MeasuredStatistic("urls", pa.int64(), "how often 'http://' or 'https://' stands in the text"),
    MeasuredStatistic("javascript", pa.int64(), "how often 'javascript' stands in it"),
    MeasuredStatistic("lorem_ipsum", pa.int64(), "how often 'lorem ipsum' stands in it"),
    MeasuredStatistic("policy_phrases", pa.int64(), "how often one of `phrases.POLICY` stands in it"),
)
"""Every statistic, in the order of the struct's fields. A ratio, mean or entropy of nothing is 0.

A *full* line stands between line feeds and has more than white space. "Of all" is of all characters. N-grams are
`n` words in a row; the *top* one is the first of the most frequent ones, all its characters counted, with a space
between words, times how often it occurs, though that be once; *duplicates* are found reading from the left: one that
occurred before counts, without spaces, and reading goes on behind it, else at the next word. So
does datatrove read Rae et al. 2021, arXiv:2112.11446, table A1; but there an n-gram is its words run together, so that
"1 23" and "12 3" are one.

With `words` "punctuation" every statistic that speaks of words means those that `punctuation` finds, and a sentence of
a line ends behind a word that is one terminal mark, and the words of symbols that follow. Otherwise a sentence ends
where a word ends with a character that `is_terminal`, but for any that `is_closing` behind it; within a word, before
whatever else follows a terminal mark from U+3000 on, of scripts without spaces. Phrases are found whatever the case of
ASCII letters.
"""

STATISTICS_TYPE: Final = pa.struct([column(each.name, each.type, each.meaning) for each in STATISTICS])
