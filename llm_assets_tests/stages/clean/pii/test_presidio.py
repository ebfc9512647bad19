"""The presidio engine: its absence is a clear error; with it, spans are the right bytes, whatever the text's length.

The tests with presidio need the optional extra and are skipped without it. The model is made here: a blank pipeline
with a few names and places as rules.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pytest

from llm_assets.stages.clean.pii import presidio
from llm_assets.stages.clean.pii.apply import apply
from llm_assets.stages.clean.pii.parameters import Action, PiiParameters, PresidioParameters
from llm_assets.stages.clean.pii.presidio import PresidioMissingError, find_with_presidio
from llm_assets.stages.clean.pii.spans import KINDS, Find, Kind
from llm_assets_tests.stages.clean.odd_text import column

PATTERNS = PresidioParameters(kinds=(Kind.EMAIL, Kind.CREDIT_CARD))


def test_what_is_missing_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    presidio._analyzer.cache_clear()
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(PresidioMissingError, match=r"presidio_analyzer is not installed: .*llm-assets\[presidio\]"):
        find_with_presidio(column(["text"]), PATTERNS)


def test_without_texts_nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    assert len(find_with_presidio(column([]), PATTERNS)) == 0


@pytest.mark.parametrize("text", ["", "a", "né 中 😀 x"])
def test_byte_positions(text: str) -> None:
    positions = presidio._byte_positions(text)
    assert positions.tolist() == [len(text[:size].encode()) for size in range(len(text) + 1)]


@pytest.mark.parametrize("text", ["", "ab", "ab cd ef", "abcdefghij", "a b\ncdefghijkl m n"])
def test_pieces_cover_the_text_and_end_at_white_space(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presidio, "MAX_PIECE", 4)
    pieces = [text[start:stop] for start, stop in presidio._pieces(text)]
    assert "".join(pieces) == text
    assert all(len(piece) <= 4 for piece in pieces)
    assert all(piece[-1] in " \n" or (" " not in piece and "\n" not in piece) for piece in pieces[:-1])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spaCy pipeline that knows two names."""
    pytest.importorskip("presidio_analyzer", reason="the extra llm-assets[presidio] is not installed")
    spacy = pytest.importorskip("spacy")
    pipeline = spacy.blank("en")
    rules = [{"label": "PERSON", "pattern": "Ada Lovelace"}, {"label": "GPE", "pattern": "Zürich"}]
    pipeline.add_pipe("entity_ruler").add_patterns(rules)
    folder = tmp_path_factory.mktemp("model") / "names"
    pipeline.to_disk(folder)
    return folder


def _names(model: Path) -> PiiParameters:
    presidio = PresidioParameters(model=str(model))
    return PiiParameters(engine="presidio", person=Action.MASK, location=Action.DROP, presidio=presidio)


def test_names_and_places_by_the_model_and_the_rest_by_the_patterns(model: Path) -> None:
    texts = ["né: Ada Lovelace, a@b.com", "", "in Zürich 😀 Ada Lovelace", "nothing"]
    result = apply(column(texts, 1, 1), _names(model))
    assert result.texts.to_pylist() == ["né: <PERSON>, <EMAIL>", "", "in <LOCATION> 😀 <PERSON>", "nothing"]
    assert result.counts[:, KINDS.index(Kind.LOCATION)].tolist() == [0, 0, 1, 0]


def test_long_texts_are_searched_in_pieces(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presidio, "MAX_PIECE", 64)
    line = "Zürich is where we met Ada Lovelace\n"
    found = find_with_presidio(column([line * 5]), PresidioParameters(model=str(model)))
    size = len(line.encode())
    place, person = KINDS.index(Kind.LOCATION), KINDS.index(Kind.PERSON)
    wanted = [(number * size, number * size + 7, place) for number in range(5)]
    wanted += [(number * size + size - 13, number * size + size - 1, person) for number in range(5)]
    assert found.finds() == [Find(0, *each) for each in sorted(wanted)]


def test_without_a_model_presidio_has_its_patterns() -> None:
    pytest.importorskip("presidio_analyzer", reason="the extra llm-assets[presidio] is not installed")
    found = find_with_presidio(column(["é a@b.com", "4111111111111111"]), PATTERNS)
    assert found.finds() == [Find(0, 3, 10, KINDS.index(Kind.EMAIL)), Find(1, 0, 16, KINDS.index(Kind.CREDIT_CARD))]


def test_a_model_that_is_not_there_is_not_downloaded() -> None:
    pytest.importorskip("presidio_analyzer", reason="the extra llm-assets[presidio] is not installed")
    with pytest.raises(ValueError, match="spaCy cannot load 'no_such_model'"):
        find_with_presidio(column(["a"]), PresidioParameters(model="no_such_model"))


def test_nulls_are_refused() -> None:
    with pytest.raises(ValueError, match="1 of 1 texts are null"):
        find_with_presidio(pa.array([None], pa.large_string()), PATTERNS)
