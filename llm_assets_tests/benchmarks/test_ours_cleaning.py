from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from benchmarks.cleaning_verdicts import read_rows
from benchmarks.corpus import write_warm_up
from benchmarks.harness import Contender, run_once
from benchmarks.ours.cleaning import verdicts
from benchmarks.targets.cleaning import APART, KERNELS, WITH_EDITS

PROSE = "The keeper of the light went down to the café with a book, and that was all we have to say of it. "


def test_rules_are_named_by_rule_set_and_c4_keeps_what_its_edits_leave() -> None:
    texts = [f"Header\n{PROSE * 6}", "Too short.", "{" + PROSE * 6]
    long, short, bracket = verdicts(["a", "b", "c"], pa.array(texts, pa.large_string()))
    assert long["id"] == "a" and long["verdicts"]["gopher_quality"] == []
    assert long["c4_text"] == (PROSE * 6).strip()
    assert "min_words" in short["verdicts"]["gopher_quality"]
    assert "min_sentences" in short["verdicts"]["c4"] and "c4_text" not in short
    assert bracket["verdicts"]["c4_documents"] == bracket["verdicts"]["c4"] == ["max_curly_brackets"]


@pytest.mark.slow
def test_a_run_times_every_phase_and_writes_a_verdict_of_every_document(tmp_path: Path) -> None:
    warm_up = tmp_path / "warm-up.jsonl.zst"
    write_warm_up(warm_up)
    job = {"corpus": str(warm_up), "warm_up": str(warm_up), "passes": 2}
    work = tmp_path / "work"
    work.mkdir()
    run = run_once(Contender("llm_assets", Path(sys.executable), "benchmarks.ours.cleaning"), job, work)
    stages = {"stage", "punctuation: stage", "stage with language and PII"}
    assert {*KERNELS, *WITH_EDITS, *APART, *stages} == run.report["cpu"].keys()
    assert [row["id"] for row in read_rows(work / "punctuation")] == ["0", "1", "2", "3", "4"]
    rows = read_rows(work)
    assert [row["id"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert [bool(row["verdicts"]["gopher_quality"]) for row in rows] == [False] * 4 + [True]
    assert rows[4]["numbers"]["words"] == 2


@pytest.mark.slow
def test_finds_are_given_in_characters(tmp_path: Path) -> None:
    texts = ["é: write to jane@example.org", "nothing"]
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    job = {"texts": str(tmp_path / "texts.json"), "entities": ["EMAIL_ADDRESS"], "passes": 1}
    run_once(Contender("llm_assets", Path(sys.executable), "benchmarks.ours.pii"), job, tmp_path)
    assert json.loads((tmp_path / "finds.json").read_text()) == [[["EMAIL_ADDRESS", 12, 28, 1.0]], []]
