"""Normalising a column equals normalising each text, and leaves alone what is normal already."""

from __future__ import annotations

import unicodedata

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llm_assets.stages.clean.edit.normalise import normalise, normalise_text
from llm_assets.stages.clean.edit.parameters import Form
from llm_assets_tests.stages.clean.odd_text import column, odd_texts


@given(odd_texts, st.integers(0, 3), st.integers(0, 3))
@example([], 0, 0)
@example([], 1, 0)
@example(["e\u0301", "", "plain", "\u0958", "é"], 2, 1)
def test_every_text_is_nfc(texts: list[str], before: int, after: int) -> None:
    result = normalise(column(texts, before, after), "NFC")
    wanted = [unicodedata.normalize("NFC", text) for text in texts]
    changed = [(old, new) for old, new in zip(texts, wanted, strict=True) if old != new]
    assert result.texts.to_pylist() == wanted
    assert result.texts.type == pa.large_string()
    assert result.changed_documents == len(changed)
    assert result.changed_bytes == sum(abs(len(new.encode()) - len(old.encode())) for old, new in changed)


@given(
    st.lists(st.sampled_from("ae\u0301\u0316\u0344\u0345\u0f71\u05b4\u3099\u0327か"), max_size=150),
    st.sampled_from(["NFC", "NFKC"]),
)
@example(["e", *["\u0301", "\u0316", "\u0344", "\u0327"] * 30], "NFC")
def test_many_marks_are_put_in_order(characters: list[str], form: Form) -> None:
    text = "".join(characters)
    assert normalise_text(text, form) == unicodedata.normalize(form, text)


def test_bytes_of_longer_and_shorter_texts_add_up() -> None:
    grows, shrinks = "\u0958", "e\u0301"
    assert [len(normalise_text(text, "NFC").encode()) for text in (grows, shrinks)] == [6, 2]
    assert normalise(column([grows, shrinks]), "NFC").changed_bytes == 3 + 1


@pytest.mark.parametrize("texts", [["plain", ""], ["naïve", "中"], []])
def test_normal_columns_are_not_copied(texts: list[str]) -> None:
    texts_in = column(texts)
    assert normalise(texts_in, "NFC").texts is texts_in


def test_none_changes_nothing() -> None:
    texts = column(["e\u0301"])
    result = normalise(texts, "none")
    assert (result.texts, result.changed_documents, result.changed_bytes) == (texts, 0, 0)
    assert normalise_text("e\u0301", "none") == "e\u0301"


def test_nulls_are_refused() -> None:
    with pytest.raises(ValueError, match="1 of 1 texts are null"):
        normalise(pa.array([None], pa.large_string()), "NFC")
