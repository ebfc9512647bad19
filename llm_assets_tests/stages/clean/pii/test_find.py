"""Finding PII: planted PII exactly, nothing else, whatever the column; as trying everything would; in linear time."""

from __future__ import annotations

import time
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llm_assets.stages.clean.pii.find import find
from llm_assets.stages.clean.pii.mask import mask
from llm_assets.stages.clean.pii.parameters import PiiParameters
from llm_assets.stages.clean.pii.spans import KINDS, PATTERN_KINDS, Find, Kind
from llm_assets_tests.stages.clean.odd_text import column, real_data
from llm_assets_tests.stages.clean.pii.oracle import everything
from llm_assets_tests.stages.clean.pii.planted import PLANTED, mixtures, surroundings

PLACEHOLDERS = {kind: PiiParameters().placeholder(kind) for kind in KINDS}


@pytest.mark.parametrize("kind", PATTERN_KINDS)
@given(st.data())
def test_planted_pii_is_found_to_the_byte(kind: Kind, data: st.DataObject) -> None:
    before, after = data.draw(surroundings), data.draw(surroundings)
    pii = data.draw(PLANTED[kind])
    start = len(f"{before} ".encode())
    wanted = [Find(1, start, start + len(pii.encode()), KINDS.index(kind))]
    assert find(column(["", f"{before} {pii} {after}", before])).finds() == wanted


@given(surroundings)
def test_text_without_pii_has_none(text: str) -> None:
    assert len(find(column([text]))) == 0


@settings(max_examples=150)
@given(st.lists(mixtures, max_size=3), st.integers(0, 2), st.integers(0, 2))
@example(["8.8.100.123-45.33.32.156 a@b.com 555-123-4567x12 a..b@c.de"], 0, 0)
@example(["+1 201 555 0123 12 34 56", "(0494 92 82 32)", "5 (020) 7946 0958"], 1, 1)
@example(["call <PHONE> 12 34 56 78 office", "x.git@example.com git@example.com"], 0, 0)
def test_finds_what_trying_every_pattern_everywhere_finds(texts: list[str], before: int, after: int) -> None:
    found = find(column(texts, before, after)).finds()
    wanted = [each for row, text in enumerate(texts) for each in everything(text.encode(), row, [PATTERN_KINDS])]
    assert found == wanted


@settings(max_examples=50)
@given(mixtures, st.permutations(PATTERN_KINDS), st.lists(st.integers(0, len(PATTERN_KINDS)), min_size=2, max_size=4))
def test_ranks_are_found_one_after_the_other_and_other_kinds_not(text: str, kinds: list[Kind], cuts: list[int]) -> None:
    ranks = [kinds[start:stop] for start, stop in pairwise(sorted(cuts))]
    assert find(column([text]), ranks).finds() == everything(text.encode(), 0, ranks)


@settings(max_examples=100)
@given(st.lists(mixtures, max_size=3))
@example(["8.8.100.123-45.33.32.156-99.33.32.156"])
@example(["phone a@b.com 12 34 56 78"])
def test_nothing_is_found_after_masking(texts: list[str]) -> None:
    column_in = column(texts)
    masked = mask(column_in, find(column_in), PLACEHOLDERS)
    assert find(masked).finds() == []


@settings(max_examples=50)
@given(st.lists(mixtures, max_size=2))
def test_spans_are_sorted_apart_and_whole_characters(texts: list[str]) -> None:
    spans = find(column(texts))
    for left, right in zip(spans.finds(), spans.finds()[1:], strict=False):
        assert (left.document, left.stop) <= (right.document, right.start)
    for span in spans.finds():
        assert 0 <= span.start < span.stop
        assert texts[span.document].encode()[span.start : span.stop].decode()
    assert [str(spans.document.dtype), str(spans.start.dtype), str(spans.kind.dtype)] == ["int64", "int64", "int8"]


@pytest.mark.parametrize("texts", [[], [""], ["", "", ""]])
def test_nothing_in_nothing(texts: list[str]) -> None:
    assert len(find(column(texts))) == 0
    assert len(find(column(texts, 1, 1))) == 0


def test_documents_do_not_run_together() -> None:
    assert len(find(column(["someone@exam", "ple.com", "201-555", "-0123", "8.8.100", ".123"]))) == 0


def test_names_need_a_model() -> None:
    with pytest.raises(ValueError, match="no pattern finds"):
        find(column(["Ada"]), [[Kind.EMAIL], [Kind.PERSON]])


def test_nulls_are_refused() -> None:
    with pytest.raises(ValueError, match="1 of 1 texts are null"):
        find(pa.array([None], pa.large_string()))


HOSTILE = {
    "at signs": "@",
    "at signs and letters": "a@",
    "addresses without an end": "a.a@a.",
    "addresses": "a@b.com ",
    "dots": "a.",
    "digits": "1",
    "digits and spaces": "12 ",
    "digits and hyphens": "12-",
    "cards": "4111 ",
    "numbers after a word": "phone 12 34 56 78 ",
    "parentheses": "(201)",
    "octets": "101.",
    "addresses that free one another": "101.102.103.104-",
    "colons": ":",
    "hexadecimal": "abcd:",
    "pluses": "+",
    "calling codes": "+49 ",
    "letters before digits": "GB12",
    "banks": "GB82 ",
    "key headers": "-----BEGIN PRIVATE KEY-----",
    "hyphens": "-",
    "tokens": "xox" + "b-",
    "web tokens": "eyJ",
    "web token parts": "eyJaaaaaaaaaa.",
    "NULs": "\x00",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_cost_grows_with_the_bytes_alone(name: str) -> None:
    """Four times the text takes at most about four times as long; a quadratic search would take sixteen."""

    def seconds(size: int) -> float:
        text = column([HOSTILE[name] * (size // len(HOSTILE[name]))])
        times = []
        for _ in range(2):
            start = time.process_time()
            find(text)
            times.append(time.process_time() - start)
        return min(times)

    seconds(1000)
    assert seconds(120_000) < 8 * seconds(30_000) + 0.05


def test_real_text_is_masked_once_and_for_all() -> None:
    text = real_data("wikitext-2/wiki.valid.raw").read_text()
    lines = column(text.splitlines())
    masked = mask(lines, find(lines), PLACEHOLDERS)
    assert len(find(masked)) == 0
    assert len(masked) == len(lines)
