"""Reports: they come back as they were committed, take each other's place, and are refused once they were changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from llm_assets.store.folder import Folder
from llm_assets.store.ledger import Count, Ledger
from llm_assets.store.manifest import Input, Manifest
from llm_assets.store.reports import REPORT, DamagedReportError, StagedReport, StoredReport, report_digest

RESULTS = {"losses": [9.01, None, 1e-17], "held_out": {"docs": {"bits_per_byte": 2.5}}}


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda data: data[:-20],
    "something else": lambda data: b"[]",
    "another number": lambda data: data.replace(b"2.5", b"2.4"),
}


def staged(folder: Path, results: dict[str, object] = RESULTS) -> StagedReport:
    digest, ledger = report_digest(results), Ledger(incoming=Count(1), kept=Count(1))
    inputs = {"demo/mixed[v1]": Input("d", "g")}
    manifest = Manifest("demo/smoke_train", "v1", digest[:12], "1-a", inputs, digest, ledger, {"length": 128})
    return StagedReport(Folder(str(folder)), results, {"seconds": 1.5}, manifest)


def test_a_report_comes_back(tmp_path: Path) -> None:
    report = staged(tmp_path)
    assert StoredReport.open(report.folder) is None
    report.discard()
    report.commit()
    stored = StoredReport.open(report.folder)
    assert stored == StoredReport(report.manifest, RESULTS, {"seconds": 1.5})
    assert report.uri == report.folder.uri and (tmp_path / REPORT).read_bytes() == report.data


def test_a_new_report_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    staged(tmp_path).commit()
    staged(tmp_path, {"losses": [1.0]}).commit()
    stored = StoredReport.open(Folder(str(tmp_path)))
    assert stored is not None and stored.results == {"losses": [1.0]}


def test_the_digest_is_of_the_results_alone() -> None:
    assert report_digest({"a": 1, "b": 2}) == report_digest({"b": 2, "a": 1}) != report_digest({"a": 1, "b": 3})


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_changed_report_is_an_error(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    report = staged(tmp_path)
    report.commit()
    (tmp_path / REPORT).write_bytes(damage(report.data))
    with pytest.raises(DamagedReportError, match=REPORT):
        StoredReport.open(report.folder)
    replace(report).commit()
    assert StoredReport.open(report.folder) is not None
