"""`llm-assets whatif`: what it prints is what the JSON says, and what it refuses it explains."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from llm_assets.stages.clean.whatif.overrides import overridden
from llm_assets.stages.clean.whatif.whatif import what_if
from llm_assets_tests.cli.conftest import CLEAN, CleanedProject, Invoke

LOWER = ["whatif", "web", "--set", "gopher_quality.min_words=30"]


def as_json(invoke: Invoke, arguments: list[str]) -> dict[str, Any]:
    result = invoke([*arguments, "--json"])
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_json_has_all_that_was_found(invoke: Invoke, cleaned_project: CleanedProject) -> None:
    told = as_json(invoke, LOWER)
    link = cleaned_project.link
    table = link.table(cleaned_project.store)
    snapshots = {name: table.snapshot(name) for name in ("2026-01", "2026-02")}
    changed = overridden(link.parameters, ["gopher_quality.min_words=30"])
    found = what_if({name: each for name, each in snapshots.items() if each}, link.parameters, changed)
    assert told["asset"] == "web/cleaned" and told["snapshots"] == ["2026-01", "2026-02"]
    assert told["judged"]["documents"] == 160 and told["quarantined"] == 0
    assert told["newly_kept"] == {"documents": found.newly_kept.documents, "bytes": found.newly_kept.bytes}
    assert told["kept_after"]["documents"] - told["kept_before"]["documents"] == told["newly_kept"]["documents"] > 0
    (rule,) = [rule for rule in told["rules"] if rule["rule"] == "gopher_quality.min_words"]
    assert (rule["before"]["threshold"], rule["after"]["threshold"]) == (50, 30)
    assert rule["newly_kept"]["documents"] == told["newly_kept"]["documents"]
    assert len(told["examples"]) == len(found.examples) == 6 and told["stored_otherwise"] == []


def test_a_person_sees_the_same(invoke: Invoke) -> None:
    told, shown = as_json(invoke, LOWER), invoke(LOWER)
    assert shown.exit_code == 0, shown.stderr
    for name in ("judged", "kept_before", "kept_after", "newly_kept", "newly_dropped"):
        amount = told[name]
        line = rf"^{name.replace('_', ' ')} +{amount['documents']:,} +{amount['bytes']:,} +[\d.]+%"
        assert re.search(line, shown.stdout, re.MULTILINE), name
    rule = r"^gopher_quality.min_words +at least 50 → at least 30 +\d+ +\d+ +-\d+ +\d+ +·"
    assert re.search(rule, shown.stdout, re.MULTILINE)
    assert re.search(r"^length.min_characters +at least 50 +\d+ +\d+", shown.stdout, re.MULTILINE)
    assert shown.stdout.count("breaks it") == shown.stdout.count("passes") == 3
    assert re.search(r"^passes +3\d +2026-0\d/a.jsonl:\d+ +dropped → kept +\S", shown.stdout, re.MULTILINE)
    assert "note:" not in shown.stdout


def test_several_settings_and_one_snapshot(invoke: Invoke) -> None:
    arguments = ["whatif", "web", "--snapshot", "2026-02", "--set", "c4={}", "--set", "language.allow=[de]"]
    told, shown = as_json(invoke, arguments), invoke(arguments)
    assert told["snapshots"] == ["2026-02"] and told["judged"]["documents"] == 80
    assert {each["rule"] for each in told["examples"]} >= {"c4.min_sentences", "language.allow"}
    assert re.search(r"^c4.min_sentences +off → at least 5 ", shown.stdout, re.MULTILINE)
    assert re.search(r"^language.allow +off → de +0 +\d+", shown.stdout, re.MULTILINE)
    assert "lorem_ipsum  value" not in shown.stdout
    assert re.search(r"^breaks it +[\d.]+ en +2026-02/a.jsonl:\d+ +kept → dropped", shown.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["whatif", "wbe", "--set", "c4={}"], "no source is called 'wbe'; there are: web"),
        ([*LOWER, "--snapshot", "1999"], "web/cleaned has no snapshot '1999'; there are: 2026-01, 2026-02"),
        (["whatif", "web", "--set", "gopher_quality.min_word=3"], "there is no field 'min_word' in gopher_quality"),
        (["whatif", "web", "--set", "gopher_quality.min_words=many"], "gopher_quality.min_words: Input should be a"),
        (["whatif", "web", "--set", "normalise=NFKC"], "normalise: this changes the texts"),
        (["whatif", "web", "--set", "language.allow=[xx]"], "language: the model gives no xx"),
        (["whatif", "web"], "Missing option '--set'"),
    ],
)
def test_what_cannot_be_is_explained(invoke: Invoke, arguments: list[str], says: str) -> None:
    result = invoke(arguments)
    assert result.exit_code == 2 and says in result.stderr and "Traceback" not in result.stderr


@pytest.fixture
def redeclared(cleaned_project: CleanedProject) -> Iterator[None]:
    cleaned_project.declare(CLEAN.replace("50", "80"))
    yield
    cleaned_project.declare(CLEAN)


@pytest.mark.usefixtures("redeclared")
def test_a_stale_snapshot_is_noted(invoke: Invoke) -> None:
    shown = invoke(["whatif", "web", "--set", "gopher_quality.min_words=30"])
    assert re.search(
        r"note: web/cleaned\[2026-01\] was not made with the parameters declared now, which are what 'before' means:"
        r" \d+ documents are stored with another verdict, and other numbers are dropped by gopher_quality.min_words",
        " ".join(shown.stdout.split()),
    )


def test_nothing_made_says_what_to_run(invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("LLM_ASSETS_ROOT", str(tmp_path))
    result = invoke(LOWER)
    assert result.exit_code == 2 and "web/cleaned has no snapshot yet: run `llm-assets run`" in result.stderr
