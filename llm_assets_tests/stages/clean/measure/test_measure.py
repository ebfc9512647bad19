"""Every statistic equals what plain Python finds in the text, whatever the script, the column or the batch."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import get_args

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llm_assets.kernels.unicode_classes import is_closing, is_symbol, is_terminal
from llm_assets.stages.clean.edit.phrases import POLICY
from llm_assets.stages.clean.measure.count import MAX_STOP_WORDS, StopWords
from llm_assets.stages.clean.measure.measure import measure
from llm_assets.stages.clean.measure.statistics import STATISTICS, STATISTICS_TYPE, WordSplit
from llm_assets.stages.clean.published_rules import GOPHER_STOP_WORDS
from llm_assets_tests.stages.clean.odd_text import LETTERS, MARKS, column, odd_text, odd_texts, real_data
from llm_assets_tests.stages.clean.plain_words import plain_words

STOP_WORDS = StopWords.of(GOPHER_STOP_WORDS)


def count_sentences(text: str) -> int:
    """Per line: words that end a sentence, ends of one within a word, and the rest of the line where it has any.

    A word ends a sentence if it ends, but for closing marks, with a terminal one; within a word, so does a terminal
    mark from U+3000 on, with the terminal and closing marks behind it.
    """
    sentences = 0
    for line in text.splitlines():
        unfinished = False
        for word in line.split():
            ended, wide = False, False
            for character in word:
                if is_terminal(character):
                    ended, wide = True, character >= "\u3000"
                elif not is_closing(character):
                    sentences += ended and wide
                    ended = False
            sentences += ended
            unfinished = not ended
        sentences += unfinished
    return sentences


def count_sentences_of_words(text: str) -> int:
    """Per line one, and one for every terminal mark behind which, but for symbols, another word stands."""

    def kind(word: str) -> str:
        return "." if len(word) == 1 and is_terminal(word) else "#" if all(map(is_symbol, word)) else "a"

    kinds = ["".join(map(kind, plain_words(line))) for line in text.splitlines()]
    return sum(1 + len(re.findall(r"\.[.#]*a", line)) for line in kinds if line)


def duplicates(parts: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return [part for part in parts if part in seen or seen.add(part)]


def top_gram(words: list[str], n: int) -> int:
    grams = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    return sum(len(" ".join(gram)) * count for gram, count in grams.most_common(1))


def duplicate_grams(words: list[str], n: int) -> int:
    seen: set[tuple[str, ...]] = set()
    characters = position = 0
    while position + n <= len(words):
        gram = tuple(words[position : position + n])
        characters += len("".join(gram)) if gram in seen else 0
        position += n if gram in seen else 1
        seen.add(gram)
    return characters


def entropy(symbols: Iterable[object]) -> float:
    counts = Counter(symbols)
    return -sum(count / counts.total() * math.log2(count / counts.total()) for count in counts.values())


def expected(
    text: str, stop_words: tuple[str, ...] = GOPHER_STOP_WORDS, split: WordSplit = "white_space"
) -> dict[str, float]:
    words, lines = plain_words(text) if split == "punctuation" else text.split(), text.splitlines()
    non_symbol = [word for word in words if not all(is_symbol(c) for c in word)]
    small = "".join(c.lower() if c.isascii() else c for c in text)
    full = [line for line in text.split("\n") if line.strip()]
    runs = re.split(r"\n+", text) if text else []
    paragraphs = re.split(r"\n{2,}", text.strip()) if text.strip() else []
    stripped = [line.strip() for line in lines]

    def per(part: float, whole: int) -> float:
        return part / whole if whole else 0.0

    def characters(predicate: Callable[[str], bool]) -> float:
        return per(sum(predicate(c) for c in text), len(text))

    def size(parts: Iterable[str]) -> int:
        return sum(map(len, parts))

    return {
        "bytes": len(text.encode()),
        "characters": len(text),
        "lines": len(lines),
        "words": len(words),
        "non_symbol_words": len(non_symbol),
        "stop_words": len(set(words) & set(stop_words)),
        "mean_word_length": per(sum(map(len, non_symbol)), len(non_symbol)),
        "hash_ratio": per(text.count("#"), len(words)),
        "ellipsis_ratio": per(text.count("...") + text.count("…"), len(words)),
        "bullet_line_fraction": per(sum(line.lstrip().startswith(("•", "-")) for line in lines), len(lines)),
        "ellipsis_line_fraction": per(sum(line.rstrip().endswith(("...", "…")) for line in lines), len(lines)),
        "alphabetic_word_fraction": per(sum(any(c.isalpha() for c in word) for word in words), len(words)),
        "digit_fraction": characters(str.isdigit),
        "upper_case_fraction": characters(str.isupper),
        "space_fraction": characters(str.isspace),
        "longest_word": max(map(len, words), default=0),
        "upper_case_word_fraction": per(sum(all(c.isupper() for c in word) for word in words), len(words)),
        "sentences": count_sentences_of_words(text) if split == "punctuation" else count_sentences(text),
        "terminal_line_fraction": per(
            sum(line.endswith((".", "?", "!", '"', "'")) and not line.endswith("...") for line in stripped), len(lines)
        ),
        "newline_ratio": per(text.count("\n"), len(words)),
        "longest_line": max(map(len, text.split("\n"))),
        "mean_line_length": per(size(full), len(full)),
        "short_line_fraction": per(sum(len(line) <= 30 for line in full), len(full)),
        "punctuated_line_fraction": per(sum(is_terminal(line[-1]) for line in full), len(full)),
        "repeated_line_character_fraction": per(size(duplicates(full)), len(text.replace("\n", ""))),
        "duplicate_line_fraction": per(len(duplicates(runs)), len(runs)),
        "duplicate_line_character_fraction": per(size(duplicates(runs)), len(text)),
        "paragraphs": len(paragraphs),
        "duplicate_paragraph_fraction": per(len(duplicates(paragraphs)), len(paragraphs)),
        "duplicate_paragraph_character_fraction": per(size(duplicates(paragraphs)), len(text)),
        **{f"top_{n}_gram_character_fraction": per(top_gram(words, n), len(text)) for n in (2, 3, 4)},
        **{f"duplicate_{n}_gram_character_fraction": per(duplicate_grams(words, n), len(text)) for n in range(5, 11)},
        "unique_word_fraction": per(len(set(words)), len(words)),
        "word_entropy": pytest.approx(entropy(words), abs=1e-9),
        "entropy": pytest.approx(entropy(text.encode()), abs=1e-9),
        "curly_brackets": text.count("{"),
        "urls": small.count("http://") + small.count("https://"),
        "javascript": small.count("javascript"),
        "lorem_ipsum": small.count("lorem ipsum"),
        "policy_phrases": sum(map(small.count, POLICY)),
    }


@settings(deadline=None)  # the kernel may have to be compiled
@given(odd_texts, st.integers(0, 3), st.integers(0, 3))
@example([], 0, 0)
@example([], 2, 0)
@example([""], 0, 0)
@example(["", "a", ""], 1, 1)
@example(["a\r", "\nb", "a\r\nb\r\r\n"], 0, 0)
@example(["..", ".", "…"], 0, 1)
@example(["- a", "\n\t• a\n-\n\na -", "a- b", "…\n•\u2028 -"], 0, 0)
@example(["a ...\n\n  \nb…  \nc.. .", "...\n", ".\n..", "......", ".... ..", "a.….."], 0, 0)
def test_statistics_equal_plain_python(texts: list[str], before: int, after: int) -> None:
    measured = measure(column(texts, before, after), STOP_WORDS)
    assert measured.to_pylist() == [expected(text) for text in texts]


with_marks = st.lists(
    st.sampled_from([*"ab.,!?)(:-'\"…/=", *" \n\n", "the", "Of", "don't", "10km", "foo.Bar", "http://a.bc/d-e", "é。"]),
    max_size=60,
).map("".join)


@settings(deadline=None)
@given(st.lists(st.one_of(odd_text, with_marks), max_size=5))
@example(["a. b", "a.\n\n. b", 'He left. (So) "did." I! …', "a. :) b", "$ . $ b."])
@example(["the, of! be-to", "(the) of's", "x, y, x, y, x, y, x, y, x, y, x, y, x, y, x, y"])
def test_statistics_of_words_at_punctuation(texts: list[str]) -> None:
    measured = measure(column(texts), STOP_WORDS, "punctuation")
    assert measured.to_pylist() == [expected(text, split="punctuation") for text in texts]


few_words = st.lists(st.sampled_from(["a", "b", "aa", "ab", "ß", "中", "wordlonger", "wordlonges"]), max_size=80)
some_lines = st.lists(st.sampled_from(["a", "b.", "ab?", " ", "", "é!", "中。", "long line of words" * 2]), max_size=30)


@settings(deadline=None)
@given(few_words, st.sampled_from([" ", "\n", " \n\n", "\u3000"]))
@example(["a"] * 200, " ")
@example(["a", "b"] * 50 + ["b", "a"] * 50, " ")
@example(list("abcdefghij" * 3 + "abcdefghi" * 2), " ")
def test_repeated_words(words: list[str], between: str) -> None:
    text = between.join(words)
    assert measure(column([text, "x", text]), STOP_WORDS).to_pylist() == [expected(text), expected("x"), expected(text)]


@settings(deadline=None)
@given(some_lines, st.sampled_from(["\n", "\n\n", "\r\n", "\n \n"]))
@example(["", "", ""], "\n")
@example(["", "a", ""], "\n")
@example([" ", "a", "a", "\u3000"], "\n\n")
@example(["\x1f", "a b", "", "", "a b ", "", "", " a b"], "\n")
@example([f"line {number % 700}" for number in range(900)], "\n")
def test_repeated_lines(lines: list[str], between: str) -> None:
    text = between.join(lines)
    assert measure(column([text]), STOP_WORDS).to_pylist() == [expected(text)]


PHRASES = [
    *POLICY,
    "lorem ipsum",
    "javascript",
    "http://",
    "https://",
    "Lorem",
    "JavaScripts",
    "use",
    "Uses Cookies",
    "{",
]


@settings(deadline=None)
@given(st.lists(st.sampled_from([*PHRASES, " ", "x", "K", ".", "?”", "!)", "。", "！", "é"]), max_size=30).map("".join))
@example("LOREM IPSUMlorem ipsum lorem  ipsum lorem\nipsum lorem ipsu")
@example("Terms of Use of Cookies HTTPS://http://https:/ ttp://")
@example("One. Two? “Three!” four.\nfive\n\nsix. ... 一。二！？三。」四 a.b '")
def test_phrases_and_sentences(text: str) -> None:
    assert measure(column([text]), STOP_WORDS).to_pylist() == [expected(text)]


@settings(deadline=None)
@given(odd_text, st.lists(st.sampled_from(LETTERS + MARKS), max_size=64))
def test_any_stop_words(text: str, words: list[str]) -> None:
    (measured,) = measure(column([text]), StopWords.of(words)).to_pylist()
    assert measured == expected(text, tuple(words))


def test_stop_words_that_share_a_bucket_are_told_apart() -> None:
    words = tuple(f"t{middle}e" for middle in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-+")
    assert len(words) == MAX_STOP_WORDS
    texts = [" ".join(words), " ".join(words[::3]), "tae tbe tae", "t.e", " ".join(words[1:])]
    measured = measure(column(texts), StopWords.of(words))
    assert measured.field("stop_words").to_pylist() == [64, 22, 2, 0, 63]


@pytest.mark.parametrize("word", ["", "two words", " the", "the\n", "a\u3000b"])
def test_a_stop_word_that_no_split_yields_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="is not one word"):
        StopWords.of(["the", word])


def test_too_many_stop_words_are_refused() -> None:
    with pytest.raises(ValueError, match="65 stop words: at most 64"):
        StopWords.of(map(str, range(65)))


def test_long_lines_words_and_runs() -> None:
    texts = ["x" * 300_000, "." * 300_000, "\n" * 300_000, "a\n" * 100_000, "é " * 100_000, " " * 300_000]
    assert measure(column(texts), STOP_WORDS).to_pylist() == [expected(text) for text in texts]


def test_long_runs_of_marks() -> None:
    texts = [mark * 3_000 for mark in ("(", ",", "-", "a.B", "'s", "a-", "…", "x@", "1.")]
    measured = measure(column(texts), STOP_WORDS, "punctuation")
    assert measured.to_pylist() == [expected(text, split="punctuation") for text in texts]


def test_struct_has_the_declared_fields() -> None:
    measured = measure(column(["a"]), STOP_WORDS)
    assert measured.type == STATISTICS_TYPE
    assert measured.type.names == [each.name for each in STATISTICS] == list(expected("a"))


def test_nulls_and_other_types_are_refused() -> None:
    with pytest.raises(ValueError, match="1 of 2 texts are null"):
        measure(pa.array(["a", None], pa.large_string()), STOP_WORDS)
    with pytest.raises(TypeError, match="must be large_string, not string"):
        measure(pa.array(["a"], pa.string()), STOP_WORDS)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=12), min_size=1, max_size=5))
def test_bad_utf8_reads_nothing_outside_its_text(texts: list[bytes]) -> None:
    together = pa.array(texts, pa.large_binary()).view(pa.large_string())
    alone = [pa.array([text], pa.large_binary()).view(pa.large_string()) for text in texts]
    for split in get_args(WordSplit):
        measured = [measure(one, STOP_WORDS, split)[0].as_py() for one in alone]
        assert measure(together, STOP_WORDS, split).to_pylist() == measured


def test_real_naughty_strings() -> None:
    texts: list[str] = json.loads(real_data("robustness/blns.json").read_text("utf-8"))
    assert len(texts) > 500
    assert measure(column(texts), STOP_WORDS).to_pylist() == [expected(text) for text in texts]


def test_real_sentences_in_many_languages() -> None:
    texts = [path.read_text("utf-8")[:20_000] for path in sorted(real_data("language-id").glob("*.txt"))]
    assert len(texts) >= 30
    assert measure(column(texts), STOP_WORDS).to_pylist() == [expected(text) for text in texts]
    texts = [text[:4_000] for text in texts]
    measured = measure(column(texts), STOP_WORDS, "punctuation")
    assert measured.to_pylist() == [expected(text, split="punctuation") for text in texts]
