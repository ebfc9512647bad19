from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import clean_memory
from benchmarks.corpus import Slice
from benchmarks.harness import BenchmarkError, Run
from benchmarks.pii_quality import Score
from benchmarks.target import Options
from benchmarks.targets import TARGETS, cleaning, pii


def run(cpu: dict[str, float], versions: dict[str, str]) -> Run:
    return Run({"cpu": cpu, "versions": versions}, Path(), 1.0, 1.0, 1)


def test_every_target_goes_by_its_name() -> None:
    assert {"chain", "cleaning", "pii"} <= TARGETS.keys()
    assert all(name == target.name for name, target in TARGETS.items())


def test_cleaning_speeds_are_of_the_same_bytes_and_phases_add_up() -> None:
    phases = (*cleaning.WITH_EDITS, *cleaning.APART, "stage", "punctuation: stage", "stage with language and PII")
    filters = dict.fromkeys((*cleaning.EDITED_RULES, "c4_documents", "chain"), 10.0)
    runs = {
        cleaning.OURS: [run(dict.fromkeys(phases, 0.1), {})],
        **{name: [run(filters, {"datatrove": "9.9"})] for name in (cleaning.SAME_WORDS, cleaning.DEFAULT_WORDS)},
        cleaning.DOLMA: [run({"gopher_v1": 3.0, "c4_v2": 1.0}, {"dolma": "1.1"})],
    }
    rows = cleaning._rows(Slice(Path(), 3, 4_000_000), runs)
    assert rows[0].figure == "all rules, words as theirs" and rows[0].against == "datatrove 9.9 as it comes"
    assert rows[0].ours == pytest.approx((20.0,)) and rows[0].theirs == pytest.approx((0.1,))
    by_figure = {(row.figure, row.against): row.ratio for row in rows}
    assert by_figure["all rules", "datatrove 9.9, words at white space"] == pytest.approx(200)
    assert by_figure["all rules, as a chain", "datatrove 9.9 as it comes"] == pytest.approx(50)
    assert by_figure["all rules with C4's line edits", "datatrove 9.9 as it comes"] == pytest.approx(80)
    assert by_figure["Gopher's and C4's numbers", "dolma 1.1"] == pytest.approx(20)


def found(ours: Score, theirs: Score) -> dict[str, Any]:
    return {
        "versions": {"presidio-analyzer": "2.2"},
        "bytes": 2_000_000,
        "texts": {"both": 4},
        "cpu_seconds": {"llm_assets": [0.5, 1.0], "presidio": [10.0, 20.0]},
        "scores": {
            "both": {
                pii.COUNT: {
                    "llm_assets": {"phone": ours.as_dict(), "all": ours.as_dict()},
                    "presidio": {"phone": theirs.as_dict(), "all": theirs.as_dict()},
                }
            }
        },
    }


def test_pii_has_speed_first_then_every_share() -> None:
    result = found(Score(9, 1, 1), Score(5, 5, 5))
    speed, *shares = pii.rows(result)
    assert speed.ours == (4.0, 2.0) and speed.theirs == (0.2, 0.1) and speed.ratio == pytest.approx(20)
    assert [row.figure for row in shares] == ["precision: phone", "recall: phone", "precision: all", "recall: all"]
    assert [row.ratio for row in shares] == pytest.approx([1.8] * 4)
    assert "No precision and no recall is below presidio's." in list(pii._findings(result))


def test_pii_says_where_it_is_worse_and_where_there_is_no_ratio() -> None:
    notes = " ".join(pii._findings(found(Score(0, 1, 2), Score(1, 0, 1))))
    assert "Worse than presidio's: precision of phone (0.000 against 1.000)" in notes
    assert "without a ratio: precision of phone" in notes
    assert len(list(pii.rows(found(Score(0, 1, 2), Score(1, 0, 1))))) == 1


def test_the_texts_with_pii_are_never_cut() -> None:
    with pytest.raises(BenchmarkError, match="leave out the fraction"):
        pii.measure(Options(1, 0.5))


def test_the_large_file_is_of_the_size_asked_for_and_no_id_comes_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clean_memory, "data", lambda _: tmp_path)
    monkeypatch.setattr(clean_memory, "technical_documents", lambda _: [("a", "é" * 50), ("b", "two\nlines")])
    path = tmp_path / "large.jsonl"
    documents = clean_memory.write_file(path, 1_000)
    lines = path.read_text("utf-8").splitlines()
    assert documents == len(lines) == len({line.split('"')[3] for line in lines})
    assert 1_000 <= path.stat().st_size < 1_200
