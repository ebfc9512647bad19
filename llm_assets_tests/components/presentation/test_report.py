"""The report of a partition: one document with every plot, each under its name."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from llm_assets.components.presentation.report import literal, report_markdown
from llm_assets.contract.histograms import Histogram
from llm_assets.contract.link import Description
from llm_assets.store.ledger import Count, Ledger
from llm_assets_tests.components.presentation.drawings import Drawing


def report(ledger: Ledger, **fields: object) -> str:
    return report_markdown(ledger, Description(1, 1, pa.schema([]), **fields))  # type: ignore[arg-type]


def tokens(markdown: str) -> Iterator[Token]:
    """All tokens of a document, those of a line too. Pictures of any kind are let through, as the UI does."""
    parser = MarkdownIt()
    parser.validateLink = lambda _: True  # type: ignore[method-assign]
    for token in parser.parse(markdown):
        yield token
        yield from token.children or ()


def test_every_plot_is_in_it_in_order_under_its_name() -> None:
    ledger = Ledger(Count(3), Count(2), Count(2), {"short": Count(1)})
    histogram = Histogram.of(np.array([1, 2, 2]))
    titles = ["Documents by *words*", "Länge der [Texte], 文字"]
    markdown = report(ledger, histograms=dict.fromkeys(titles, histogram), curves={"Loss": np.array([2.0, 1.0])})
    found = list(tokens(markdown))
    pictures = [token for token in found if token.type == "image"]
    expected = ["Documents: from what came in to what was kept", *titles, "Loss"]
    assert [token.content for token in pictures and found if token.type == "text"] == expected
    assert ["".join(c.content for c in picture.children or ()) for picture in pictures] == expected
    for picture in pictures:
        data = str(picture.attrs["src"]).removeprefix("data:image/svg+xml;base64,")
        assert Drawing.of(base64.b64decode(data).decode()).size[0] == 480


def test_without_anything_to_plot_there_is_none() -> None:
    assert report(Ledger(Count(1), Count(1), Count(1))) == ""


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=30))
def test_words_mean_themselves(words: str) -> None:
    (paragraph,) = [token for token in tokens(f"x {literal(words)} x") if token.type == "inline"]
    plain = "".join(token.content for token in paragraph.children or () if token.type == "text")
    assert plain.split() == ["x", *words.split(), "x"]
    assert {token.type for token in paragraph.children or ()} == {"text"}


@pytest.mark.parametrize("words", ["# a", "`b`", "<img src=x>", "](javascript:x)", "a\nb", "&amp;", "http://x.y"])
def test_words_that_look_like_markup_are_words(words: str) -> None:
    types = {token.type for token in tokens(f"#### {literal(words)}")}
    assert types == {"heading_open", "inline", "text", "heading_close"}
