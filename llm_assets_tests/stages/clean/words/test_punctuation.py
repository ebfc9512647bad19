"""Words at punctuation marks are what plain Python finds, whatever the text, and what is expected of plain prose."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llm_assets.stages.clean.measure.count import StopWords
from llm_assets.stages.clean.measure.measure import measure
from llm_assets.stages.clean.words.lexicon import LONGEST_ENTRY, lexicon
from llm_assets.stages.clean.words.marks import entries, words_of
from llm_assets_tests.stages.clean.odd_text import odd_text, real_data
from llm_assets_tests.stages.clean.plain_words import plain_words

PIECES = [
    *"abzABZ019.,:;!?'\"()[]{}<>=+-*/^~_$%&#@|\\",
    *["é", "É", "中", "’", "“", "”", "…", "–", "—", "€", "°", "²", "😀", "´", "„", "٣"],
    *["foo", "Bar", "com", "http://", "www", "192", "168", "8.8.8.8", "user@", "id", "can", "n't", "'s", "’S", "..."],
    *["km", "US$", "A$", "10", "am", "e.g", "U.S", "°C", "--", "---", "——", "':'", ":)", "):", "don", "'ve", "''"],
]
code_like = st.lists(st.sampled_from([*PIECES, " "]), max_size=20).map("".join)


@settings(deadline=None, max_examples=300)
@given(
    st.one_of(
        code_like, odd_text, st.text(st.sampled_from([piece for piece in PIECES if len(piece) == 1]), max_size=30)
    )
)
@example("a…………b")
@example("¡a.'B'")
@example("x........")
@example("a-1-b--c---d----e")
@example(
    "http://a.bc:80/x-y,z u:p@h.co/x=y a_.bc/x=y 8.8.8.8:80/a-b 10.0.0.1/a-b a.bc:1/x-y @a.bc/x=y http://@a.bc/x=y"
)
def test_words_equal_plain_python(text: str) -> None:
    assert words_of(text) == plain_words(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, world!", "Hello , world !"),
        ("(She said: “no”.)", "( She said : “ no ” . )"),
        (
            "I can't; they'd've won't you'll it's John's cannot",
            "I ca n't ; they 'd 've wo n't you 'll it 's John 's can not",
        ),
        ("e.g. the U.S. and Mr. X.", "e.g. the U.S. and Mr. X."),
        ("end.Start well-known 1-2 and/or either/or", "end . Start well - known 1 - 2 and/or either / or"),
        ("$5 5€ 10km 3% US$7 20GB. +1 1+", "$ 5 5 € 10 km 3 % US$ 7 20 GB . +1 1 +"),
        ("https://a.bc/d?e=f, me@home.org foo.com/x", "https://a.bc/d?e=f , me@home.org foo.com/x"),
        ("a.b.c f(x) x=y a->b wait...what…", "a.b.c f(x ) x = y a->b wait ... what …"),
        ("def f(self):", "def f(self ):"),
        ("Grüße, Welt。 中文，好。", "Grüße , Welt 。 中文，好 。"),
    ],
)
def test_words_of_prose_and_code(text: str, words: str) -> None:
    assert words_of(text) == words.split()


def test_real_naughty_strings_and_languages() -> None:
    texts: list[str] = json.loads(real_data("robustness/blns.json").read_text("utf-8"))
    texts += [path.read_text("utf-8")[:5_000] for path in sorted(real_data("language-id").glob("*.txt"))]
    assert len(texts) > 530
    for text in texts:
        assert words_of(text) == plain_words(text)


def test_every_entry_of_the_lexicon_is_found() -> None:
    assert [entry for entry in entries() if len(entry) > LONGEST_ENTRY] == []
    for entry in entries():
        assert words_of(entry.decode()) == plain_words(entry.decode())


@pytest.mark.parametrize("entry", [b"", b"x" * 17])
def test_entries_of_other_sizes_are_refused(entry: bytes) -> None:
    with pytest.raises(ValueError, match="an entry has 1 to 16"):
        lexicon({entry: 0})


@given(
    st.lists(st.sampled_from([b"\xe2", b"\xf0", b"\x80", b"(", b".", b",", b"a", b"\xe2\x80\x9d", b" "]), max_size=12)
)
def test_what_is_no_utf8_leaves_nothing_to_the_next_text(pieces: list[bytes]) -> None:
    following = b"one two three, four (five) abcdefghij"
    texts = [b"".join(pieces), following]
    offsets = pa.array([0, len(texts[0]), len(texts[0]) + len(following)], pa.int64())
    column = pa.LargeStringArray.from_buffers(2, offsets.buffers()[1], pa.py_buffer(b"".join(texts)))
    stop_words = StopWords.of(["the"])
    alone = measure(pa.array([following.decode()], pa.large_string()), stop_words, "punctuation")
    assert measure(column, stop_words, "punctuation").slice(1).to_pylist() == alone.to_pylist()
