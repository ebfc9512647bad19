"""The rule sets that others have published, with their thresholds.

Guarantees that a rule set with its defaults is the published one, and says where it is not. The sources are papers and,
where a paper leaves something open, what datatrove 0.10.1 makes of it: its words, though, are those of its word
tokenizer, and here they are split at white space.
"""

from __future__ import annotations

from typing import Annotated, Final

from llm_assets.stages.clean.rules import Bound, Fraction, Length, Limit, Number, RuleSet

GOPHER_STOP_WORDS: Final = ("the", "be", "to", "of", "and", "that", "have", "with")


class GopherQuality(RuleSet):
    """The quality rules of Gopher: Rae et al. 2021, arXiv:2112.11446, appendix A.1.1, with its thresholds.

    The paper leaves open what a word, a line, a bullet and an ellipsis are. Here each is what datatrove 0.10.1
    makes of it, on words split at white space:

    - `min_words`, `max_words` and the mean word length leave out words of symbols alone; the ratios do not.
    - A line is one of `str.splitlines()`, blank ones included; a bullet is "•" or "-"; an ellipsis is "..." or
      "…", of which six dots make two.
    - `min_stop_words` counts different stop words, as "at least two of the following words" says, each an
      entire word in this very case: neither "The" nor "the," is one.

    It differs from datatrove's filter, given the same words, in three ways:

    - What a symbol is: Unicode's punctuation, control characters and ASCII's symbols (`is_symbol`), not its list
      of 281 characters, which lacks "§", "•" and "⟦" among others. Two of 25,563 documents of real text fall on
      another side of `min_words` for it.
    - Statistics of a text without words are 0, where it divides by zero, so such a text breaks the `min_` rules.
    - A threshold of 0 is a threshold; null switches a rule off. Every broken rule is found, not the first alone.
    """

    min_words: Annotated[Number, Limit(Bound.AT_LEAST, "non_symbol_words")] = 50
    max_words: Annotated[Number, Limit(Bound.AT_MOST, "non_symbol_words")] = 100_000
    min_mean_word_length: Annotated[Length, Limit(Bound.AT_LEAST, "mean_word_length")] = 3
    max_mean_word_length: Annotated[Length, Limit(Bound.AT_MOST, "mean_word_length")] = 10
    max_symbol_word_ratio: Annotated[
        Fraction, Limit(Bound.AT_MOST, "hash_ratio"), Limit(Bound.AT_MOST, "ellipsis_ratio")
    ] = 0.1
    max_bullet_lines: Annotated[Fraction, Limit(Bound.AT_MOST, "bullet_line_fraction")] = 0.9
    max_ellipsis_lines: Annotated[Fraction, Limit(Bound.AT_MOST, "ellipsis_line_fraction")] = 0.3
    min_alphabetic_words: Annotated[Fraction, Limit(Bound.AT_LEAST, "alphabetic_word_fraction")] = 0.8
    min_stop_words: Annotated[Number, Limit(Bound.AT_LEAST, "stop_words")] = 2


class GopherRepetition(RuleSet):
    """The repetition rules of Gopher: Rae et al. 2021, arXiv:2112.11446, appendix A.1.1, table A1, with its thresholds.

    All are fractions; that of characters is of the whole text, white space included. What a line, a paragraph and an
    n-gram's characters are is said of the statistics in `measure`. datatrove's filter differs, given the same words,
    in that its duplicate n-grams are words run together: "1 23" and "12 3" are the same to it.
    """

    max_duplicate_lines: Annotated[Fraction, Limit(Bound.AT_MOST, "duplicate_line_fraction")] = 0.3
    max_duplicate_paragraphs: Annotated[Fraction, Limit(Bound.AT_MOST, "duplicate_paragraph_fraction")] = 0.3
    max_duplicate_line_characters: Annotated[Fraction, Limit(Bound.AT_MOST, "duplicate_line_character_fraction")] = 0.2
    max_duplicate_paragraph_characters: Annotated[
        Fraction, Limit(Bound.AT_MOST, "duplicate_paragraph_character_fraction")
    ] = 0.2
    max_top_2_gram_characters: Annotated[Fraction, Limit(Bound.AT_MOST, "top_2_gram_character_fraction")] = 0.2
    max_top_3_gram_characters: Annotated[Fraction, Limit(Bound.AT_MOST, "top_3_gram_character_fraction")] = 0.18
    max_top_4_gram_characters: Annotated[Fraction, Limit(Bound.AT_MOST, "top_4_gram_character_fraction")] = 0.16
    max_duplicate_5_gram_characters: Annotated[
        Fraction, Limit(Bound.AT_MOST, "duplicate_5_gram_character_fraction")
    ] = 0.15
    max_duplicate_6_gram_characters: Annotated[
        Fraction, Limit(Bound.AT_MOST, "duplicate_6_gram_character_fraction")
    ] = 0.14
    max_duplicate_7_gram_characters: Annotated[
        Fraction, Limit(Bound.AT_MOST, "duplicate_7_gram_character_fraction")
    ] = 0.13
    max_duplicate_8_gram_characters: Annotated[
        Fraction, Limit(Bound.AT_MOST, "duplicate_8_gram_character_fraction")
    ] = 0.12
    max_duplicate_9_gram_characters: Annotated[
        Fraction, Limit(Bound.AT_MOST, "duplicate_9_gram_character_fraction")
    ] = 0.11
    max_duplicate_10_gram_characters: Annotated[
        Fraction, Limit(Bound.AT_MOST, "duplicate_10_gram_character_fraction")
    ] = 0.1


class C4(RuleSet):
    """The rules of C4 about whole documents: Raffel et al. 2020, arXiv:1910.10683, section 2.2.

    Those about lines are `LineEdits`, which come first: what is judged is what they leave. C4 looks for curly brackets
    and "lorem ipsum" in lines before it drops them for `javascript` or `policy`; here, in what is left. Sentences are
    counted by the marks that end them, not by a trained model, so an abbreviation's full stop ends one too.
    """

    min_sentences: Annotated[Number, Limit(Bound.AT_LEAST, "sentences")] = 5
    max_curly_brackets: Annotated[Number, Limit(Bound.AT_MOST, "curly_brackets")] = 0
    max_lorem_ipsum: Annotated[Number, Limit(Bound.AT_MOST, "lorem_ipsum")] = 0


class FineWeb(RuleSet):
    """The rules of FineWeb: Penedo et al. 2024, arXiv:2406.17557, section 3.6, as its code applies them.

    The thresholds are those of the code, datatrove 0.10.1, which has 0.01 where the paper names 0.1, for
    `max_repeated_line_characters`, and with `max_newline_ratio` a rule more.
    """

    min_punctuated_lines: Annotated[Fraction, Limit(Bound.AT_LEAST, "punctuated_line_fraction")] = 0.12
    max_short_lines: Annotated[Fraction, Limit(Bound.AT_MOST, "short_line_fraction")] = 0.67
    max_repeated_line_characters: Annotated[Fraction, Limit(Bound.AT_MOST, "repeated_line_character_fraction")] = 0.01
    max_newline_ratio: Annotated[Length, Limit(Bound.AT_MOST, "newline_ratio")] = 0.3
