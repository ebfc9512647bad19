"""Masking replaces the spans and leaves every other byte; without spans it copies nothing."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.stages.clean.pii.mask import mask
from llm_assets.stages.clean.pii.spans import KINDS, Find, Kind, Spans
from llm_assets_tests.stages.clean.odd_text import column, odd_texts

PLACEHOLDERS = {kind: f"<{kind.value}é>" for kind in KINDS}


@st.composite
def texts_with_spans(draw: st.DrawFn) -> tuple[list[str], list[list[tuple[int, int, Kind]]]]:
    """Texts, and of each the characters from, the characters to, and kinds of spans apart from one another."""
    texts = draw(odd_texts)
    spans = []
    for text in texts:
        cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=8)))
        pairs = list(zip(cuts[::2], cuts[1::2], strict=False))
        spans.append([(start, stop, draw(st.sampled_from(KINDS))) for start, stop in pairs])
    return texts, spans


@given(texts_with_spans(), st.integers(0, 2), st.integers(0, 2))
def test_masks_as_slicing_does(
    case: tuple[list[str], list[list[tuple[int, int, Kind]]]], before: int, after: int
) -> None:
    texts, spans = case
    wanted, finds = [], []
    for row, (text, each) in enumerate(zip(texts, spans, strict=True)):
        pieces, last = [], 0
        for start, stop, kind in each:
            pieces += [text[last:start], PLACEHOLDERS[kind]]
            last = stop
            finds.append(Find(row, len(text[:start].encode()), len(text[:stop].encode()), KINDS.index(kind)))
        wanted.append("".join([*pieces, text[last:]]))
    masked = mask(column(texts, before, after), Spans.of(finds), PLACEHOLDERS)
    masked.validate(full=True)
    assert masked.type == pa.large_string()
    assert masked.to_pylist() == wanted


def test_without_spans_nothing_is_copied() -> None:
    texts = column(["a", "b"], 1, 1)
    assert mask(texts, Spans.of([]), {}) is texts


def test_every_kind_there_is_needs_a_placeholder() -> None:
    with pytest.raises(KeyError):
        mask(column(["a"]), Spans.of([Find(0, 0, 1, 0)]), {})
