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
"""What separates words: white space alone, or punctuation marks too, which are words themselves (`punctuation`)."""


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
    Statistic("words", pa.int64(), "len(text.split()), or the words that `punctuation` finds"),
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
    Statistic("longest_word", pa.int64(), "characters of the longest word"),
    Statistic("upper_case_word_fraction", pa.float64(), "words of which str.isupper grants every character"),
    Statistic("sentences", pa.int64(), "per line, ends of sentences, and the rest of the line where it has words"),
    Statistic("terminal_line_fraction", pa.float64(), "lines that end, but for spaces, with one of .?!\"' and not ..."),
    Statistic("newline_ratio", pa.float64(), "text.count('\\n') per word"),
    Statistic("longest_line", pa.int64(), "characters of the longest line between line feeds"),
    Statistic("mean_line_length", pa.float64(), "characters per full line"),
    Statistic("short_line_fraction", pa.float64(), "full lines of at most 30 characters"),
    Statistic("punctuated_line_fraction", pa.float64(), "full lines whose very last character `is_terminal`"),
    Statistic("repeated_line_character_fraction", pa.float64(), "in full lines that occurred before, of all but '\\n'"),
    Statistic("duplicate_line_fraction", pa.float64(), "of re.split(r'\\n+', text), those that occurred before"),
    Statistic("duplicate_line_character_fraction", pa.float64(), "characters in them, of all"),
    Statistic("paragraphs", pa.int64(), "how many re.split(r'\\n{2,}', text.strip()) yields that are not empty"),
    Statistic("duplicate_paragraph_fraction", pa.float64(), "of the paragraphs, those that occurred before"),
    Statistic("duplicate_paragraph_character_fraction", pa.float64(), "characters in them, of all"),
    *(
        Statistic(f"top_{n}_gram_character_fraction", pa.float64(), f"all occurrences of the top {n}-gram, of all")
        for n in TOP_SIZES
    ),
    *(
        Statistic(f"duplicate_{n}_gram_character_fraction", pa.float64(), f"{n}-grams that occurred before, of all")
        for n in DUPLICATE_SIZES
    ),
    Statistic("unique_word_fraction", pa.float64(), "different words, of the words"),
    Statistic("word_entropy", pa.float64(), "bits per word, were words drawn as often as they occur"),
    Statistic("entropy", pa.float64(), "bits per byte of UTF-8, were bytes drawn as often as they occur"),
    Statistic("curly_brackets", pa.int64(), "text.count('{')"),
    Statistic("urls", pa.int64(), "how often 'http://' or 'https://' stands in the text"),
    Statistic("javascript", pa.int64(), "how often 'javascript' stands in it"),
    Statistic("lorem_ipsum", pa.int64(), "how often 'lorem ipsum' stands in it"),
    Statistic("policy_phrases", pa.int64(), "how often one of `phrases.POLICY` stands in it"),
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
