from __future__ import annotations

from typing import Any

import pytest

from benchmarks.cleaning_verdicts import Difference, agreements, marks, percent, same_text, symbols, word_agreement


def row(name: str, broken: list[str], text: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"id": name, "verdicts": {"c4": broken}}
    return found if text is None else {**found, "c4_text": text}


OURS = [row("a", [], "x"), row("b", ["min_words", "other"]), row("c", []), row("d", ["min_words"])]
THEIRS = [row("a", [], "y"), row("b", ["short"]), row("c", ["alpha"]), row("d", [], "d")]


def test_sides_agree_where_both_keep_or_both_drop_for_whatever_reason() -> None:
    [agreement] = agreements(OURS, THEIRS, ["c4"])
    assert (agreement.documents, agreement.kept, agreement.share) == (4, 1, 0.5)
    assert agreement.differences == (Difference("c", (), ("alpha",)), Difference("d", ("min_words",), ()))
    assert agreement.sentence() == ("`c4` 50.00 % of 4 documents (1 `alpha`, theirs alone, 1 `min_words`, ours alone)")


def test_full_agreement_gives_no_reasons() -> None:
    [agreement] = agreements(OURS, OURS, ["c4"])
    assert agreement.sentence() == "`c4` 100.00 % of 4 documents"


@pytest.mark.parametrize("others", [THEIRS[:-1], THEIRS[::-1]])
def test_other_documents_are_refused(others: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        agreements(OURS, others, ["c4"])


def test_texts_are_compared_where_both_keep() -> None:
    assert same_text(OURS, THEIRS) == (0, 1)
    assert same_text(OURS, OURS) == (1, 1)


def test_a_share_is_never_rounded_up_to_all() -> None:
    assert [percent(share) for share in (1.0, 20_210 / 20_211, 0.97, 0.29)] == [
        "100.00 %",
        "99.99 %",
        "97.00 %",
        "29.00 %",
    ]


def test_marks_and_symbols_are_characters_of_their_kind() -> None:
    found = marks()
    assert "." in found["terminal"] and "。" in found["terminal"] and "a" not in found["terminal"]
    assert ")" in found["closing"] and "⟦" in symbols() and "a" not in symbols()


def test_words_agree_where_they_begin_at_the_same_characters() -> None:
    theirs = [["a", "b", "cd"], ["x"] * 200, ["x"] * 200]
    agreement = word_agreement([["a", "b", "cd"], ["xx", *["x"] * 198], ["xx"] * 100], theirs)
    assert (agreement.documents, agreement.same, agreement.near) == (3, 1, 2)
    assert agreement.share == (3 + 199 + 100) / (3 + 200 + 200)
    with pytest.raises(ValueError, match="argument 2 is longer"):
        word_agreement([], theirs)
