"""On real text, with the same words, every rule set decides as datatrove does. All of it: docs/verdicts.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.cleaning_verdicts import Rows, agreements, same_text
from benchmarks.harness import BENCH
from benchmarks.verdict_agreement import RULE_SETS, ours, technical_documents, wikitext_articles, with_same_words
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
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    """What is said here and what datatrove says, of a corpus by its name."""
    if not (BENCH / "datatrove" / "bin" / "python").exists():
        pytest.skip("no .bench/datatrove: make the environment of the benchmarks first")
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
