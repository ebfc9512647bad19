"""On real text, with words split alike, every rule set decides as datatrove does. All of it: docs/verdicts.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.cleaning_verdicts import Rows, agreements, same_text, word_agreement
from benchmarks.harness import BENCH
from benchmarks.verdict_agreement import (
    RULE_SETS,
    ours,
    technical_documents,
    their_words,
    theirs,
    wikitext_articles,
    with_same_words,
)
from llm_assets.stages.clean.words.marks import words_of
from llm_assets_tests.stages.clean.odd_text import real_data

DOCUMENTS = {
    "wikitext": lambda: [*wikitext_articles()[:120], *_sections()],
    "technical": lambda: technical_documents(real_data("technical-corpus/part-00.jsonl.zst"))[:150],
}
Both = Callable[[str], tuple[Rows, Rows]]


def _sections() -> list[tuple[str, str]]:
    text = real_data("wikitext-2/wiki.valid.raw").read_text("utf-8")
    return [(f"section {number}", section) for number, section in enumerate(text.split("\n = ")) if section.strip()]


@pytest.fixture(scope="module")
def datatrove() -> None:
    """Skips where datatrove is not there."""
    if not (BENCH / "datatrove" / "bin" / "python").exists():
        pytest.skip("no .bench/datatrove: make the environment of the benchmarks first")


@pytest.fixture(scope="module")
def both(datatrove: None, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """What is said here and what datatrove says, of a corpus by its name."""
    made: dict[str, tuple[Rows, Rows]] = {}

    def rows(name: str) -> tuple[Rows, Rows]:
        real_data("wikitext-2")
        if name not in made:
            documents = DOCUMENTS[name]()
            work: Path = tmp_path_factory.mktemp(name) / "run"
            made[name] = ours(documents), with_same_words(documents, work)
        return made[name]

    return rows


@pytest.mark.slow
@pytest.mark.xdist_group("datatrove")
@pytest.mark.parametrize("corpus", DOCUMENTS)
@pytest.mark.parametrize("rule_set", RULE_SETS)
def test_verdicts_agree(both: Both, corpus: str, rule_set: str) -> None:
    mine, theirs = both(corpus)
    [agreement] = agreements(mine, theirs, [rule_set])
    assert agreement.documents >= 150
    assert agreement.differences == ()


@pytest.mark.slow
@pytest.mark.xdist_group("datatrove")
def test_line_edits_leave_the_same_text(both: Both) -> None:
    same, kept = same_text(*both("wikitext"))
    assert same == kept > 20


@pytest.fixture(scope="module")
def by_default(datatrove: None, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """With words at punctuation what is said here, and what datatrove says as it comes."""
    made: dict[str, tuple[Rows, Rows]] = {}

    def rows(name: str) -> tuple[Rows, Rows]:
        real_data("wikitext-2")
        if name not in made:
            documents = DOCUMENTS[name]()[:150]
            work: Path = tmp_path_factory.mktemp(name) / "default"
            made[name] = ours(documents, "punctuation"), theirs(documents, {"words": "default"}, work)
        return made[name]

    return rows


@pytest.mark.slow
@pytest.mark.xdist_group("datatrove")
@pytest.mark.parametrize("corpus", DOCUMENTS)
@pytest.mark.parametrize("rule_set", RULE_SETS)
def test_verdicts_agree_with_words_at_punctuation(by_default: Both, corpus: str, rule_set: str) -> None:
    [agreement] = agreements(*by_default(corpus), [rule_set])
    assert agreement.documents == 150
    assert agreement.share >= 0.98


@pytest.mark.slow
@pytest.mark.xdist_group("datatrove")
@pytest.mark.usefixtures("datatrove")
@pytest.mark.parametrize("corpus", DOCUMENTS)
def test_words_at_punctuation_are_those_of_spacy(corpus: str, tmp_path: Path) -> None:
    real_data("wikitext-2")
    documents = DOCUMENTS[corpus]()[:150]
    agreement = word_agreement([words_of(text) for _, text in documents], their_words(documents, tmp_path / "words"))
    assert agreement.documents == 150
    assert agreement.near >= 148
    assert agreement.share >= 0.999
