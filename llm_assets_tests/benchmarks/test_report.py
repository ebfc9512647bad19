from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from benchmarks import report
from benchmarks.result import Better, Row
from llm_assets_tests.benchmarks.made_up import MACHINE, made_up


def test_document_has_a_table_a_section_and_where_it_was_measured() -> None:
    text = report.render({"chain": made_up("chain")})
    assert "| [chain](#chain) | speed | **10×** (5 to 15) | peer 1.0 | 2026-11-21 |\n" in text
    assert "| speed | MB/s | 20 | 2 | peer 1.0 | **10×** (5 to 15) | higher |\n" in text
    assert str(MACHINE) in text
    assert "peer 1.0." in text


def test_results_come_back_from_the_document() -> None:
    results = {
        "loader": made_up("loader", Row("start", "ms", "other", (1.0, 0.1 + 0.2), (3.0, 1e-9), Better.LOWER)),
        "chain": made_up("chain"),
    }
    assert report.read_results(report.render(results)) == results


@given(st.text())
def test_no_note_can_break_the_document(note: str) -> None:
    results = {"chain": made_up("chain", note=note)}
    assert report.read_results(report.render(results)) == results


def test_a_note_cannot_end_the_comment_or_pass_for_a_result() -> None:
    results = {"chain": made_up("chain", note="-->\n<!-- result {} -->\n")}
    text = report.render(results)
    stored = next(line for line in text.splitlines() if line.startswith("<!-- result {"))
    assert stored.index("-->") == len(stored) - len("-->")
    assert report.read_results(text) == results


def test_targets_that_are_not_run_keep_their_rows(tmp_path: Path) -> None:
    document = tmp_path / "docs/benchmarks.md"
    first, second = made_up("chain"), made_up("loader")
    again = made_up("chain", Row("speed", "MB/s", "peer 2.0", (9.0,), (3.0,)))
    for result in (first, second, again):
        report.write(result, document)
    assert report.read_results(document.read_text()) == {"chain": again, "loader": second}
    assert document.read_text() == report.render({"loader": second, "chain": again})


def test_a_bar_does_not_split_a_cell() -> None:
    result = made_up("chain", Row("a|b", "MB/s", "peer", (9.0,), (3.0,)))
    assert "| a\\|b | MB/s | 9 | 3 | peer | **3×** (3 to 3) | higher |" in report.render({"chain": result})
