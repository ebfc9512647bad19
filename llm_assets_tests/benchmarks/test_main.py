from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import __main__ as program
from benchmarks import report
from benchmarks.harness import BenchmarkError
from benchmarks.result import Result
from benchmarks.target import Options, Target
from llm_assets_tests.benchmarks.made_up import made_up


@pytest.fixture
def options_seen(monkeypatch: pytest.MonkeyPatch) -> list[Options]:
    seen: list[Options] = []

    def good(options: Options) -> Result:
        seen.append(options)
        return made_up("good")

    def bad(options: Options) -> Result:
        raise BenchmarkError("the data is absent")

    targets = {"bad": Target("bad", "Fails.", bad), "good": Target("good", "Works.", good)}
    monkeypatch.setattr(program, "TARGETS", targets)
    return seen


def test_one_target_prints_one_object_last_and_writes_the_document(
    options_seen: list[Options], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = tmp_path / "benchmarks.md"
    arguments = ["good", "--rounds", "5", "--fraction", "0.5", "--report", str(document)]
    assert program.main(arguments) == 0
    assert options_seen == [Options(5, 0.5)]
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == made_up("good").line()
    assert report.read_results(document.read_text()) == {"good": made_up("good")}


def test_a_target_that_fails_says_why_and_does_not_keep_others_from_running(
    options_seen: list[Options], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["--report", str(tmp_path / "benchmarks.md")]) == 1
    written = capsys.readouterr()
    assert "bad could not be measured: the data is absent" in written.err
    assert json.loads(written.out)["target"] == "good"
    assert options_seen == [Options()]


def test_no_report_writes_nothing(options_seen: list[Options], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "write", lambda *_: pytest.fail("the document was written"))
    assert program.main(["good", "--no-report"]) == 0


@pytest.mark.parametrize("arguments", [["none"], ["--rounds", "0"], ["--fraction", "0"], ["--fraction", "1.5"]])
def test_wrong_arguments_are_refused(options_seen: list[Options], arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        program.main(arguments)


def test_the_list_names_every_target(options_seen: list[Options], capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["bad", "good"]
