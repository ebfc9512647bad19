from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from llm_assets.cli.app import app
from llm_assets.store.ledger import Ledger
from llm_assets_tests.end_to_end.conftest import Demo
from llm_assets_tests.end_to_end.projects import DECLARATIONS, land, write_project
from llm_assets_tests.end_to_end.servers import PROJECT, Place

pytestmark = pytest.mark.slow

STAGES = ["raw", "cleaned", "deduped", "tokenized", "packed"]
SNAPSHOTS = [("code", "2026-01"), ("docs", "2026-01"), ("docs", "2026-02")]
Status = dict[tuple[str, str], dict[str, Any]]
Invoke = Callable[[Sequence[str]], Result]


@pytest.fixture(scope="module")
def status(demo: Demo) -> Status:
    return {(entry["asset"], entry["partition"]): entry for entry in demo.place.status()}


@pytest.fixture
def invoke(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """A command in this process, which saves its start, in the place of the demonstration."""
    monkeypatch.chdir(PROJECT)
    return lambda arguments: CliRunner().invoke(app, arguments, env=demo.place.environment)


def ledger(status: Status, asset: str, partition: str) -> Ledger:
    return Ledger.from_dict(status[asset, partition]["ledger"])


def test_demo_data_says_what_landed(demo: Demo) -> None:
    for source, snapshot in SNAPSHOTS:
        assert re.search(rf"^{source} {snapshot}: [\d,]+ documents, [\d.]+ MB in \d+ files$", demo.landed, re.MULTILINE)
        assert (demo.place.root / "landing" / source / snapshot / "_SUCCESS").exists()


def test_run_says_what_it_made(demo: Demo) -> None:
    for source, snapshot in SNAPSHOTS:
        assert f"{source}/raw → cleaned → deduped  {snapshot}" in demo.output
        assert f"{source}/tokenized → packed  {snapshot}" in demo.output
    assert "17 partitions made" in demo.output


def test_status_has_every_partition_of_every_stage(status: Status) -> None:
    expected = {(f"{source}/{stage}", snapshot) for source, snapshot in SNAPSHOTS for stage in STAGES}
    assert set(status) == expected | {("tokenizers/demo_bpe", ""), ("demo/mixed", "v1")}
    for entry in status.values():
        assert entry["state"] == "current" and not entry["failed_checks"]
        assert Path(entry["uri"]).is_dir() and re.fullmatch(r"[0-9a-f]{32,64}", entry["digest"])


def test_every_ledger_balances(status: Status) -> None:
    for asset, partition in status:
        entry = ledger(status, asset, partition)
        assert entry.incoming.amount(entry.unit) > 0
        assert entry.incoming == entry.kept + entry.dropped_total + entry.quarantined_total, (asset, partition)


@pytest.mark.parametrize(("source", "snapshot"), SNAPSHOTS)
def test_what_a_stage_puts_out_is_what_the_next_takes_in(status: Status, source: str, snapshot: str) -> None:
    stages = [ledger(status, f"{source}/{stage}", snapshot) for stage in STAGES]
    for before, after in pairwise(stages):
        assert before.output == after.incoming
    raw, *_, tokenized, packed = stages
    assert raw.output.tokens == 0
    assert tokenized.output.tokens == packed.output.tokens > 0
    assert tokenized.output.documents == packed.kept.documents


def test_the_mixture_draws_on_all_that_is_packed(status: Status) -> None:
    """Each source is offered once or, with `max_repetitions: 2`, twice; one of them is used up."""
    packed = {"docs": 0, "code": 0}
    for source, snapshot in SNAPSHOTS:
        packed[source] += ledger(status, f"{source}/packed", snapshot).output.tokens
    mixed = ledger(status, "demo/mixed", "v1")
    assert mixed.incoming.tokens in {
        docs * packed["docs"] + code * packed["code"] for docs in (1, 2) for code in (1, 2)
    }
    assert len({reason for reason in mixed.dropped if reason.startswith("over_share:")}) < 2
    assert mixed.output == mixed.kept


def test_run_again_makes_nothing(demo: Demo, status: Status) -> None:
    start = time.monotonic()
    again = demo.place.llm_assets("run", "demo")
    seconds = time.monotonic() - start
    assert again.returncode == 0, again.stderr
    assert "everything is up to date" in again.stdout and "→" not in again.stdout
    assert seconds < demo.seconds / 2
    assert {(entry["asset"], entry["partition"]): entry for entry in demo.place.status()} == status


def test_peek_shows_where_documents_end(demo: Demo) -> None:
    shown = demo.place.llm_assets("peek", "demo/mixed", "--count", "40")
    assert shown.returncode == 0, shown.stderr
    rows = re.findall(r"row (\d+) of [\d,]+: (\d+) documents, (\d+) tokens of padding", shown.stdout)
    assert [int(row) for row, _, _ in rows] == list(range(40))
    assert shown.stdout.count("⏎ document ends") == sum(int(documents) - 1 for _, documents, _ in rows) > 0


@pytest.mark.parametrize("stage", STAGES)
def test_peek_shows_every_stage(invoke: Invoke, stage: str) -> None:
    shown = invoke(["peek", f"docs/{stage}@2026-01", "-n", "2"])
    assert shown.exit_code == 0, shown.stderr
    title = r"row \d+ of" if stage == "packed" else r"demo-\S+:\d+"
    assert len(re.findall(rf"╭─ {title}", shown.stdout)) == 2


def test_peek_shows_why_documents_were_dropped(invoke: Invoke) -> None:
    shown = invoke(["peek", "docs/cleaned@2026-01", "--dropped"])
    assert shown.exit_code == 0 and "gopher_quality." in shown.stdout


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("nonsense", "'nonsense' is not a target: write docs/cleaned"),
        ("nowhere/raw", "nothing is called nowhere/raw; there are:"),
        ("docs/baked", "nothing is called docs/baked; there are:"),
        ("demo/baked", "nothing is called demo/baked; there are:"),
        ("docs/cleaned@1999", "docs/cleaned has no partition '1999'; there are: 2026-01, 2026-02"),
        ("docs/packed@1999", "docs/packed has no partition '1999'; there are: 2026-01, 2026-02"),
        ("demo/mixed@v9", "demo/mixed has no partition 'v9'; there are: v1"),
    ],
)
def test_peek_of_nonsense_says_what_there_is(invoke: Invoke, target: str, says: str) -> None:
    shown = invoke(["peek", target])
    assert shown.exit_code == 2 and says in shown.stderr


def test_an_unknown_mixture_is_refused(invoke: Invoke) -> None:
    result = invoke(["run", "dmeo"])
    assert result.exit_code == 2 and "no mixture is called 'dmeo'; there are: demo" in result.stderr


def test_nothing_landed_says_where_to_land(tmp_path: Path) -> None:
    place = Place.make(tmp_path)
    result = place.llm_assets("run")
    assert result.returncode == 1
    for source in ("docs", "code"):
        assert f"note {source}: nothing has landed in {place.root}/landing/{source}" in result.stdout
    assert "failed tokenizers/demo_bpe: docs/deduped has no snapshot to train" in result.stderr


def test_a_blocked_check_fails_the_command_until_what_landed_is_mended(tmp_path: Path) -> None:
    """In a project of its own, found from the working directory; the snapshot's name looks like rich's markup."""
    project = write_project(tmp_path / "project", "corpora_blocked", DECLARATIONS)
    place = Place.make(tmp_path / "place")
    landed = land(place.root / "landing", "web", "crawl-a", range(20), broken=2)
    blocked = place.llm_assets("run", cwd=project)
    assert blocked.returncode == 1
    why = "9.09% of the records could not be read (2 of 22); the limit is 5.00%"
    said = f"failed web/raw[crawl-a]: web/raw[crawl-a] was not committed, since it failed quarantine_rate ({why})"
    assert said in blocked.stderr
    told = place.llm_assets("status", cwd=project).stdout
    assert re.search(r"web/raw +crawl-a +refused *\n", told)
    assert f"refused web/raw[crawl-a] failed quarantine_rate: {why}" in told

    for file in landed.iterdir():
        file.unlink()
    landed.rmdir()
    land(place.root / "landing", "web", "crawl-a", range(20), broken=1)
    mended = place.llm_assets("run", cwd=project)
    assert mended.returncode == 0, mended.stderr
    assert "refused" not in mended.stdout and re.search(r"first/mixed +v1 +current", mended.stdout)


def test_wrong_yaml_is_told_without_a_stack_trace(tmp_path: Path) -> None:
    wrong = {**DECLARATIONS, "web": DECLARATIONS["web"].replace("128", "0")}
    project = write_project(tmp_path / "project", "corpora_wrong", wrong)
    result = Place.make(tmp_path / "place").llm_assets("run", cwd=project)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "pack.sequence_length at" in result.stderr and "web/defs.yaml:7" in result.stderr


def test_outside_of_any_project_the_demonstration_is_used(demo: Demo, tmp_path: Path) -> None:
    result = demo.place.llm_assets("status", cwd=tmp_path)
    assert result.returncode == 0 and "demo/mixed" in result.stdout
