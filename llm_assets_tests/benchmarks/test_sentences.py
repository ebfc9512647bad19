from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cleaning_verdicts import marks
from benchmarks.peers.sentences import sentence_counter
from llm_assets_tests.stages.clean.odd_text import odd_text

MARKS = marks()
TERMINAL, CLOSING = frozenset(MARKS["terminal"]), frozenset(MARKS["closing"])
count = sentence_counter(**MARKS)
mark_heavy = st.lists(st.sampled_from([*".!?。！」』)\"'”", "中", "a", "\u0301", " ", "…"]), max_size=20).map("".join)


def plain_count(line: str) -> int:
    sentences, unfinished = 0, False
    for word in line.split():
        ended, wide = False, False
        for character in word:
            if character in TERMINAL:
                ended, wide = True, character >= "\u3000"
            elif character not in CLOSING:
                sentences += ended and wide
                ended = False
        sentences += ended
        unfinished = not ended
    return sentences + unfinished


@given(st.one_of(mark_heavy, odd_text))
def test_the_fast_count_is_the_plain_one(line: str) -> None:
    assert count(line) == plain_count(line)


def test_examples() -> None:
    assert [count(line) for line in ["", " ", "One. Two", 'He said "no." Then', "一。二。三"]] == [0, 0, 2, 2, 3]
