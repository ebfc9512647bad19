"""The class table says of every code point what Python says of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from llm_assets.kernels.unicode_classes import (
    ALPHABETIC,
    CLOSING,
    CODE_POINTS,
    DIGIT,
    LINE_BREAK,
    SPACE,
    SYMBOL,
    TERMINAL,
    UPPER,
    class_table,
    is_closing,
    is_symbol,
    is_terminal,
)


@pytest.mark.parametrize(
    ("flag", "predicate"),
    [
        (SPACE, lambda c: not c.split()),
        (LINE_BREAK, lambda c: f"a{c}b".splitlines() == ["a", "b"]),
        (ALPHABETIC, str.isalpha),
        (UPPER, str.isupper),
        (DIGIT, str.isdigit),
        (SYMBOL, is_symbol),
        (TERMINAL, is_terminal),
        (CLOSING, is_closing),
    ],
)
def test_flag_is_the_predicate_on_every_code_point(flag: int, predicate: Callable[[str], bool]) -> None:
    table = class_table()
    wrong = [code for code in range(CODE_POINTS) if bool(table[code] & flag) != predicate(chr(code))]
    assert table.shape == (CODE_POINTS,)
    assert wrong == []


def test_symbols_are_punctuation_controls_and_ascii_symbols() -> None:
    assert all(map(is_symbol, "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~…•–§「。\x00\x7f\x85"))
    assert not any(map(is_symbol, "a7éß中あ€→©😀 \u0301"))


def test_sentences_end_in_every_script() -> None:
    assert all(map(is_terminal, ".?!。！？؟۔।॥։።។‼"))
    assert not any(map(is_terminal, "a,;:…-'\"”)、，·"))
    assert all(map(is_closing, "'\"”’»)]}」』）"))
    assert not any(map(is_closing, ".a([“«「-"))


def test_table_is_shared_and_cannot_be_changed() -> None:
    assert class_table() is class_table()
    with pytest.raises(ValueError, match="read-only"):
        class_table()[0] = 1
