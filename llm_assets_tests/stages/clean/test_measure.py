"""Every statistic equals what plain Python finds in the text, whatever the script, the column or the batch."""

from __future__ import annotations

import json
from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llm_assets.stages.clean.count import MAX_STOP_WORDS, StopWords
from llm_assets.stages.clean.measure import STATISTICS, STATISTICS_TYPE, measure
from llm_assets.stages.clean.rules import GOPHER_STOP_WORDS
from llm_assets.stages.clean.unicode_classes import is_symbol
from llm_assets_tests.stages.clean.odd_text import LETTERS, MARKS, column, odd_text, odd_texts, real_data

STOP_WORDS = StopWords.of(GOPHER_STOP_WORDS)


def expected(text: str, stop_words: tuple[str, ...] = GOPHER_STOP_WORDS) -> dict[str, float]:
    words, lines = text.split(), text.splitlines()
    non_symbol = [word for word in words if not all(is_symbol(c) for c in word)]

    def per(part: float, whole: int) -> float:
        return part / whole if whole else 0.0

    def characters(predicate: Callable[[str], bool]) -> float:
        return per(sum(predicate(c) for c in text), len(text))

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
    assert measure(together, STOP_WORDS).to_pylist() == [measure(one, STOP_WORDS)[0].as_py() for one in alone]


def test_real_naughty_strings() -> None:
    texts: list[str] = json.loads(real_data("robustness/blns.json").read_text("utf-8"))
    assert len(texts) > 500
    assert measure(column(texts), STOP_WORDS).to_pylist() == [expected(text) for text in texts]


def test_real_sentences_in_many_languages() -> None:
    texts = [path.read_text("utf-8") for path in sorted(real_data("language-id").glob("*.txt"))]
    assert len(texts) >= 30
    assert measure(column(texts), STOP_WORDS).to_pylist() == [expected(text) for text in texts]
