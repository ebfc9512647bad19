"""What is shown of a cleaned snapshot, counted again in plain Python."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from llm_assets.contract.link import Description
from llm_assets.contract.stage import Disposition
from llm_assets.stages.clean.report import HISTOGRAMS, LANGUAGES, describe_cleaned
from llm_assets.store.documents import CommittedSnapshot
from llm_assets_tests.worlds.cleaned_world import CleanedWorld, mixed_texts

CLEAN: dict[str, Any] = {
    "language": {"allow": ["en", "und"], "min_confidence": 0.3},
    "pii": {"email": "drop", "ip": None},
    "gopher_repetition": {},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> CleanedWorld:
    return CleanedWorld.below(tmp_path_factory.mktemp("report"), {"s": mixed_texts(150, 3)}, **CLEAN)


@pytest.fixture(scope="module")
def snapshot(world: CleanedWorld) -> CommittedSnapshot:
    return world.snapshots["s"]


@pytest.fixture(scope="module")
def description(world: CleanedWorld, snapshot: CommittedSnapshot) -> Description:
    return describe_cleaned(snapshot, snapshot.size, snapshot.manifest.ledger, world.link.parameters)


def rows(snapshot: CommittedSnapshot) -> dict[str, list[dict[str, Any]]]:
    return {
        disposition.value: [row for batch in snapshot.batches(disposition) for row in batch.to_pylist()]
        for disposition in (Disposition.KEPT, Disposition.REJECTED)
    }


def test_histograms_are_of_the_statistics_whose_rules_dropped_most(
    world: CleanedWorld, snapshot: CommittedSnapshot, description: Description
) -> None:
    dropped: Counter[str] = Counter()
    for row in rows(snapshot)["rejected"]:
        first = row["reasons"][0]["rule"]
        dropped[next(rule.statistic for rule in world.link.parameters.rules if rule.name == first)] += 1
    shown = [title.removeprefix("Documents by ") for title in description.histograms]
    assert len(dropped) > 4 and len(shown) == HISTOGRAMS
    assert [dropped[name] for name in shown] == sorted(dropped.values(), reverse=True)[: len(shown)] + [0] * (
        len(shown) - len(dropped)
    )


def test_histograms_count_kept_and_rejected(snapshot: CommittedSnapshot, description: Description) -> None:
    stored = rows(snapshot)
    for title, histogram in description.histograms.items():
        name = title.removeprefix("Documents by ")
        assert {each: int(counts.sum()) for each, counts in histogram.counts.items()} == {
            each: len(stored[each]) for each in ("kept", "rejected")
        }
        assert list(histogram.counts) == ["kept", "rejected"] and histogram.marks
        if name == "non_symbol_words":
            below = sum(row["statistics"][name] < histogram.edges[9] for row in stored["rejected"])
            assert histogram.counts["rejected"][:9].sum() == below > 0
            assert histogram.marks == {
                "gopher_quality.min_words, at least 50": 50.0,
                "gopher_quality.max_words, at most 100,000": 100_000.0,
            }
        if name == "language_confidence":
            assert list(histogram.marks) == ["language.min_confidence, at least 0.3"]


def test_languages_and_pii_are_counted(snapshot: CommittedSnapshot, description: Description) -> None:
    stored = rows(snapshot)
    languages = {each: Counter(row["language"] for row in stored[each]) for each in stored}
    table = description.tables["languages"]
    named = [row for row in table if not str(row["language"]).endswith(" others")]
    assert 1 < len(named) <= LANGUAGES
    for row in named:
        assert (row["kept"], row["rejected"]) == tuple(languages[each][row["language"]] for each in stored)
    assert sum(int(row["kept"]) + int(row["rejected"]) for row in table) == 150
    pii = {row["kind"]: row for row in description.tables["pii"]}
    assert "ip" not in pii and pii["email"]["action"] == "drop"
    with_email = [row for row in stored["rejected"] if row["pii"]["email"]]
    assert pii["email"]["rejected documents"] == len(with_email) > 0 == pii["email"]["kept documents"]
    assert pii["email"]["spans"] == sum(row["pii"]["email"] for row in with_email)


def test_rejected_documents_are_shown_with_their_reasons(snapshot: CommittedSnapshot, description: Description) -> None:
    shown = description.samples["dropped"]
    assert len(shown) == len(description.samples["kept"]) == 5
    stored = {f"{row['file']}:{row['record']}": row for row in rows(snapshot)["rejected"]}
    for row in shown:
        reasons = stored[f"{row['file']}:{row['record']}"]["reasons"]
        assert row["reasons"].startswith(f"{reasons[0]['rule']}: {reasons[0]['value']:,.6g} (threshold ")
    assert shown[0]["file"] != shown[-1]["file"]


def test_the_order_of_reasons_is_that_of_the_rules(world: CleanedWorld, description: Description) -> None:
    assert list(description.reasons) == [rule.name for rule in world.link.parameters.rules]


@pytest.mark.parametrize("texts", [["a", "b c"], [" "], [mixed_texts(2, 1)[0]]])
def test_few_documents_are_described_too(tmp_path: Path, texts: list[str]) -> None:
    off = {"length": None, "gopher_quality": None, "pii": None, "language": None}
    for number, clean in enumerate(({}, off)):
        world = CleanedWorld.below(tmp_path / str(number), {"s": texts}, **clean)
        snapshot = world.snapshots["s"]
        described = describe_cleaned(snapshot, snapshot.size, snapshot.manifest.ledger, world.link.parameters)
        assert described.rows == snapshot.manifest.ledger.kept.documents
        if clean:
            assert list(described.histograms) == ["Documents by words"] and not described.tables
