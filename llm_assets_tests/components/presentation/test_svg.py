from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.components.presentation.svg import FILLS, FONT_SIZE, INK, Canvas, shortened, text_width
from llm_assets_tests.components.presentation.drawings import Drawing, contrast

# What a page of the Dagster UI lies on, in light and in dark mode, and paper itself.
BACKGROUNDS = ("#ffffff", "#030615", "#000")


@given(st.text() | st.sampled_from(["<b>&amp;", "日本語", "\x00\ud800\ufffe", "a'b\"c", "</text>", "עברית", "\r\n"]))
def test_words_of_any_kind_come_back(words: str) -> None:
    canvas = Canvas(100, 100)
    canvas.words([(0, 10, words)])
    (found,) = Drawing.of(canvas.svg()).words
    # XML reads every end of a line as a line feed
    expected = words.replace("\r\n", "\n").replace("\r", "\n")
    assert len(found) == len(expected)
    assert all(a == b or a == "\ufffd" for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("words", ["Wörter, 3 %", "日本語 <&> 規則", "مرحبا", "🙂"])
def test_words_that_xml_can_hold_stay_what_they_are(words: str) -> None:
    canvas = Canvas(100, 100)
    canvas.words([(0, 10, words)])
    assert Drawing.of(canvas.svg()).words == [words]


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_colours_can_be_read_in_light_and_dark_mode(background: str) -> None:
    assert contrast(INK, background) > 4.4
    assert min(contrast(fill, background) for fill in FILLS) > 3


@given(st.lists(st.integers(1, 60), min_size=1, max_size=50))
def test_steps_are_as_high_as_they_were_told(heights: list[int]) -> None:
    canvas = Canvas(600, 100)
    edges = [10 + 7.3 * place for place in range(len(heights) + 1)]
    canvas.steps(edges, [90 - height for height in heights], 90, "#000")
    ((_, outline),) = Drawing.of(canvas.svg()).outlines
    for place, height in enumerate(heights):
        middle = (edges[place] + edges[place + 1]) / 2
        tops = {y for (x, y), (to, same) in itertools.pairwise(outline) if y == same and x <= middle <= to}
        assert tops == {90 - height}


def test_little_is_not_nothing() -> None:
    canvas = Canvas(100, 100)
    canvas.steps([0, 10, 20], [99.99, 100.0], 100, "#000")
    canvas.rectangle(0, 0, 0.01, 5, "#000")
    drawing = Drawing.of(canvas.svg())
    assert min(y for _, outline in drawing.outlines for _, y in outline) == 99
    assert [(end - begin) for begin, end, _ in drawing.bars] == [1]


@given(st.text(st.characters(categories=["L", "N", "P"]), max_size=40), st.integers(20, 300))
def test_shortened_words_fit(words: str, width: int) -> None:
    cut = shortened(words, width)
    assert text_width(cut) <= width
    assert cut == words or (cut.endswith("…") and words.startswith(cut[:-1]))


def test_wide_characters_take_more_room() -> None:
    assert text_width("漢字") == 2 * FONT_SIZE > text_width("ab")
    assert text_width("e\u0301") == text_width("e")
