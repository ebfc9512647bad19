"""Words against a plain search of every stretch of text, on what casefolding and scripts make hard."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llm_assets.stages.clean.blocklist.automaton import CHUNK
from llm_assets.stages.clean.blocklist.folding import folding
from llm_assets.stages.clean.blocklist.words import build_words, count_words
from llm_assets.stages.clean.texts import text_buffers
from llm_assets_tests.stages.clean.blocklist.plain_matching import plain_words
from llm_assets_tests.stages.clean.odd_text import column, odd_text

_PIECES = [
    *["a", "A", "b", "ab", "Ab", " ", "  ", "\n", "\u3000", "-", ".", "'", "_", "\u200d"],
    *["ß", "ẞ", "ss", "SS", "İ", "i\u0307", "ı", "I", "σ", "ς", "Σ", "ŉ", "ﬁ", "fi", "\u0345", "ͅα", "ᾳ", "ΐ", "K"],
    *["中", "文", "か", "が", "か\u3099", "ก", "กำ", "ា", "한", "국", "م", "ह", "हि", "😀", "\U00010400", "\U00010428"],
]
_text = st.lists(st.sampled_from(_PIECES), max_size=14).map("".join)


def _count(texts: list[str], lists: list[list[str]]) -> list[list[int]]:
    hits = np.zeros((len(texts), len(lists)), np.int64)
    count_words(*text_buffers(column(texts, 1, 1)), build_words(lists), folding(), hits)
    return hits.tolist()


def _entry(text: str) -> str:
    return " ".join(text.casefold().split())


_entries = st.lists(st.lists(st.sampled_from(_PIECES), min_size=1, max_size=4).map("".join).map(_entry), max_size=8)


@given(st.lists(_text, max_size=4), st.lists(_entries.map(lambda each: [e for e in each if e]), min_size=1, max_size=3))
@example(["a a a a"], [["a", "a a", "a a a"], ["a a"]])
@example(["STRASSE straße Straẞe"], [["strasse"]])
@example(["ΟΔΟΣ οδος οδός"], [["οδοσ"]])
def test_finds_what_a_plain_search_finds(texts: list[str], lists: list[list[str]]) -> None:
    expected = [[plain_words(text, set(entries)) for entries in lists] for text in texts]
    assert _count(texts, lists) == expected


@given(odd_text, st.data())
def test_finds_what_was_cut_out_of_the_text(text: str, data: st.DataObject) -> None:
    text = text[:40]
    cuts = st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))
    entries = {_entry(text[min(cut) : max(cut)]) for cut in data.draw(st.lists(cuts, min_size=1, max_size=6))} - {""}
    assert _count([text], [sorted(entries)]) == [[plain_words(text, entries)]]


@pytest.mark.parametrize(
    ("text", "entry", "hits"),
    [
        ("Scunthorpe", "cunt", 0),
        ("bad, bad; (bad) bad's bad_x badly", "bad", 4),
        ("two\n\twords two  words twowords", "two words", 2),
        ("这是坏话吗", "坏话", 1),
        ("e\u0301t", "e", 0),
        ("C++ and c++11 c+", "c++", 2),
        ("İstanbul", "i\u0307stanbul", 1),
    ],
)
def test_a_hit_is_made_of_whole_words(text: str, entry: str, hits: int) -> None:
    assert _count([text], [[entry]]) == [[hits]]


def test_the_last_of_64_lists_is_told_apart() -> None:
    lists = [["same", f"only{number}"] for number in range(64)]
    assert _count(["same only63"], lists) == [[1] * 63 + [2]]


def test_a_word_longer_than_any_entry_is_none() -> None:
    assert _count(["a" * 10_000, "a", ""], [["a", "aaa"]]) == [[0], [1], [0]]


def test_an_entry_may_lie_across_what_is_read_at_a_time() -> None:
    texts = [". " * (before // 2) + "." * (before % 2) + "very bad" for before in range(CHUNK - 4, CHUNK + 4)]
    assert _count(texts, [["very bad", "bad"]]) == [[2]] * len(texts)
