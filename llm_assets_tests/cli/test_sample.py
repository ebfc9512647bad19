"""`llm-assets sample`: the table printed is that of the file written."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from llm_assets_tests.cli.conftest import CleanedProject, Invoke


def test_the_table_is_that_of_the_file(invoke: Invoke, tmp_path: Path) -> None:
    output = tmp_path / "sample.parquet"
    arguments = ["sample", "web", "--output", str(output), "--documents", "40"]
    shown = invoke([*arguments, "--by", "characters", "--strata", "3", "--by", "language"])
    assert shown.exit_code == 0, shown.stderr
    written = Counter(pq.read_table(output)["stratum"].to_pylist())
    assert sum(written.values()) == 40
    lines = re.findall(r"^(\d+(?:–\d+)?) +(\S+) +(\d+) +(\d+) *$", shown.stdout, re.MULTILINE)
    assert len(lines) > 2
    told = {f"characters {length}, language {language}": int(taken) for length, language, _, taken in lines}
    assert {label: taken for label, taken in told.items() if taken} == written
    assert re.search(r"^all +\d+ +40 *$", shown.stdout, re.MULTILINE)
    assert f"written to {output}" in shown.stdout
    first = output.read_bytes()
    assert invoke([*arguments, "--by", "characters", "--strata", "3", "--by", "language"]).exit_code == 0
    assert output.read_bytes() == first


def test_of_the_rejected_documents_of_one_snapshot(
    invoke: Invoke, cleaned_project: CleanedProject, tmp_path: Path
) -> None:
    output = tmp_path / "sample.parquet"
    shown = invoke(["sample", "web", "--output", str(output), "--fraction", "1", "--rejected", "--snapshot", "2026-02"])
    assert shown.exit_code == 0, shown.stderr
    snapshot = cleaned_project.link.table(cleaned_project.store).snapshot("2026-02")
    written = pq.read_table(output)
    assert snapshot is not None and written.num_rows == snapshot.count("rejected") > 0
    assert set(written["snapshot"].to_pylist()) == {"2026-02"} and all(written["reasons"].to_pylist())
    assert f"all documents {written.num_rows}" in " ".join(shown.stdout.split())


def test_many_strata_are_summed_up(invoke: Invoke, tmp_path: Path) -> None:
    output = tmp_path / "sample.parquet"
    arguments = ["--fraction", "0.5", "--by", "characters", "--by", "entropy", "--strata", "20"]
    shown = invoke(["sample", "web", "--output", str(output), *arguments])
    assert shown.exit_code == 0, shown.stderr
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert any(line[1:2] == ["others"] for line in lines)
    counts = [(int(line[-2]), int(line[-1])) for line in lines if line[0] != "all" and line[-1].isdigit()]
    totals = next(line for line in lines if line[0] == "all")
    assert len(counts) == 51 and [str(sum(each)) for each in zip(*counts, strict=True)] == totals[-2:]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sample", "wbe", "--documents", "3"], "no source is called 'wbe'; there are: web"),
        (["sample", "web"], "say how many"),
        (["sample", "web", "--documents", "3", "--fraction", "0.5"], "say how many"),
        (
            ["sample", "web", "--documents", "3", "--by", "colour"],
            "there are no strata by 'colour'; there are by value",
        ),
        (["sample", "web", "--fraction", "2"], "Invalid value for '--fraction'"),
    ],
)
def test_what_cannot_be_is_explained(invoke: Invoke, tmp_path: Path, arguments: list[str], says: str) -> None:
    result = invoke([*arguments, "--output", str(tmp_path / "sample.parquet")])
    assert result.exit_code == 2 and says in result.stderr and "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_told(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke(["sample", "web", "--documents", "1", "--output", str(tmp_path / "nowhere/s.parquet")])
    assert result.exit_code == 2 and "nowhere is no folder" in result.stderr
