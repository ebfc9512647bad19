"""A stage between two others, in a project of its own: everything shows it, and nothing in the package knows of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from llm_assets_tests.end_to_end.guide import example_files, write_example
from llm_assets_tests.end_to_end.projects import DECLARATIONS, land, write_project
from llm_assets_tests.end_to_end.servers import Place, dagster_dev

STAGE = example_files("A whole stage")["my_corpus/screening.py"]
QUERY = "{assetNodes { assetKey { path } groupName dependencyKeys { path } } }"


def project(tmp_path: Path, module: str, stages: str) -> Path:
    source = f"{DECLARATIONS['web']}  stages:\n{stages}"
    folder = write_project(tmp_path / "project", module, {**DECLARATIONS, "web": source})
    raising = 'if any("explode" in text for text in texts):\n            raise ArithmeticError("boom")\n        return'
    (folder / module / "screening.py").write_text(STAGE.replace("return", raising))
    return folder


@pytest.mark.slow
def test_a_stage_of_the_projects_own_is_a_stage_like_the_others(tmp_path: Path) -> None:
    here = write_example(tmp_path / "project", "A whole stage")
    place = Place.make(tmp_path / "place")
    landed = land(place.root / "landing", "web", "2026-01", range(20))
    texts = [json.loads(line)["text"] for line in (landed / "records.jsonl").read_text().splitlines()]
    having = sum("river" in text for text in texts)
    assert 0 < having < len(texts)

    run = place.llm_assets("run", cwd=here)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "web/raw → cleaned → deduped → screened" in run.stdout
    status = {each["asset"]: each for each in json.loads(place.llm_assets("status", "--json", cwd=here).stdout)}
    assert list(status)[:6] == [
        f"web/{name}" for name in ("raw", "cleaned", "deduped", "screened", "tokenized", "packed")
    ]
    ledger = status["web/screened"]["ledger"]
    assert ledger["dropped"] == {"has_river": {**ledger["dropped"]["has_river"], "documents": having}}
    for amount in ("documents", "bytes"):
        assert ledger["incoming"][amount] == status["web/deduped"]["ledger"]["output"][amount]
        assert ledger["output"][amount] == status["web/tokenized"]["ledger"]["incoming"][amount]
    assert ledger["output"]["documents"] == len(texts) - having
    assert all(each["state"] == "current" for each in status.values())

    shown = place.llm_assets("peek", "web/screened", "--dropped", "-n", "100", cwd=here).stdout
    assert len(re.findall(r"reason: has_river", shown)) == having
    with dagster_dev(place, cwd=here) as server:
        nodes = {"/".join(each["assetKey"]["path"]): each for each in server.query(QUERY)["assetNodes"]}
        assert nodes["web/screened"]["groupName"] == "web"
        assert nodes["web/screened"]["dependencyKeys"] == [{"path": ["web", "deduped"]}]
        assert {"path": ["web", "screened"]} in nodes["web/tokenized"]["dependencyKeys"]


@pytest.mark.slow
def test_an_error_of_its_own_is_told_with_its_name_and_blocks(tmp_path: Path) -> None:
    here = project(
        tmp_path, "failing_corpora", "  - use: failing_corpora.screening:WithoutWords\n    words: [explode]\n"
    )
    place = Place.make(tmp_path / "place")
    landed = land(place.root / "landing", "web", "2026-01", range(20))
    records = (landed / "records.jsonl").read_text().splitlines()
    broken = json.loads(records[3])
    broken["text"] += " The kettle may explode."
    (landed / "records.jsonl").write_text("\n".join([*records[:3], json.dumps(broken), *records[4:]]) + "\n")
    run = place.llm_assets("run", cwd=here)
    assert run.returncode == 1
    assert (
        "processing_errors (5.00% of the documents could not be judged by failing_corpora.screening:With" in run.stderr
    )
    assert "web/raw" in run.stdout and "web/screened[2026-01]" in run.stderr


@pytest.mark.parametrize(
    ("stages", "why"),
    [
        ("  - use: screened_corpora.screening:Nothing\n", "cannot be imported"),
        ("  - use: screened_corpora.screening:WithoutWords\n    words: 3\n", "words"),
        (
            "  - use: screened_corpora.screening:WithoutWords\n    words: []\n    after: packed\n",
            "no stage that has documents",
        ),
        ("  - {use: 'screened_corpora.screening:WithoutWords', words: []}\n" * 2, "two stages are called screened"),
    ],
)
def test_a_stage_that_cannot_be_is_refused_at_its_line(tmp_path: Path, stages: str, why: str) -> None:
    here = project(tmp_path, "screened_corpora", stages)
    told = Place.make(tmp_path / "place").llm_assets("status", cwd=here)
    assert told.returncode == 2
    assert re.search(r"web/defs\.yaml:\d+", told.stderr) and why in told.stderr, told.stderr
