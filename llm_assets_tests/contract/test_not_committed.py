"""Through Dagster, with the real definitions: what fails its check is not committed, and nobody sees it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from llm_assets.components.declared import load_project
from llm_assets.components.stage_asset import asset_key
from llm_assets.contract.link import Link, State
from llm_assets.definitions import PROJECT, build_defs
from llm_assets.project import is_settled
from llm_assets.stages.mix.link import MixedLink
from llm_assets.stages.pack.link import PackedLink
from llm_assets.store.folder import Folder
from llm_assets.store.layout import SUCCESS, Store
from llm_assets_tests.torture.stores import attempts_on_record, visible_bytes
from llm_assets_tests.worlds.world import jsonl, paragraphs

BAD = b'{"text": \n' * 4
STAGES = ["raw", "cleaned", "deduped"]


@dataclass(frozen=True)
class Here:
    """The demonstration project over a store and an instance of the test's own."""

    definitions: dg.Definitions
    instance: dg.DagsterInstance
    store: Store
    docs: PackedLink
    code: PackedLink
    demo: MixedLink

    def land(self, source: str, snapshot: str, files: dict[str, bytes]) -> None:
        for name, content in files.items():
            self.store.landing.put(f"{source}/{snapshot}/{name}", content)
        self.store.landing.put(f"{source}/{snapshot}/{SUCCESS}", b"")
        self.store.order(source).register(snapshot)
        self.instance.add_dynamic_partitions(f"{source}/snapshots", [snapshot])

    def run(self, assets: Sequence[str], partition: str = "") -> dg.ExecuteInProcessResult:
        return self.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            partition_key=partition or None,
            asset_selection=[asset_key(asset) for asset in assets],
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )

    def run_source(self, source: str, snapshot: str, stages: Sequence[str]) -> dg.ExecuteInProcessResult:
        return self.run([f"{source}/{stage}" for stage in stages], snapshot)

    def run_mixture(self) -> str:
        version = self.demo.versions(self.store).register(self.demo.recipe(self.store))
        self.instance.add_dynamic_partitions("demo/versions", [version])
        assert self.run(["demo/mixed"], version).success
        return version

    def link(self, asset: str) -> Link[Any]:
        return {link.asset: link for packed in (self.docs, self.code) for link in packed.lineage}[asset]

    def texts(self, source: str, stage: str = "cleaned") -> dict[str, list[str]]:
        """Kept texts by snapshot, by Polars."""
        table = pl.read_delta((self.store.source(source) / stage).uri).filter(disposition="kept")
        return {str(name): frame["text"].to_list() for (name,), frame in table.group_by("snapshot")}

    def check_results(self, asset: str) -> dict[str, list[bool]]:
        """Every evaluation of each check that the instance has on record, newest first."""
        found: dict[str, list[bool]] = {}
        for check in self.link(asset).checks:
            key = dg.AssetCheckKey(asset_key(asset), check.name)
            records = self.instance.event_log_storage.get_asset_check_execution_history(key, limit=100)
            passed, failed = AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED
            found[check.name] = [r.status is passed for r in records if r.status in (passed, failed)]
        return found

    def materialized(self, asset: str) -> set[str]:
        return self.instance.get_materialized_partitions(asset_key(asset))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.setenv("LLM_ASSETS_ROOT", str(tmp_path))
    project = load_project(PROJECT)
    return Here(
        build_defs(),
        dg.DagsterInstance.ephemeral(),
        Store(Folder(str(tmp_path))),
        project.of_kind(PackedLink)["docs"],
        project.of_kind(PackedLink)["code"],
        project.of_kind(MixedLink)["demo"],
    )


def land_good(here: Here) -> None:
    here.land("docs", "2026-01", {"a.jsonl": jsonl(paragraphs(0, 20))})
    here.land("code", "2026-01", {"a.jsonl": jsonl(paragraphs(40, 60))})


def finish(here: Here, *snapshots: tuple[str, str]) -> None:
    """The tokenizer, and what comes after it."""
    if here.docs.tokenized.tokenizer.committed(here.store, "") is None:
        assert here.run(["tokenizers/demo_bpe"]).success
    for source, snapshot in snapshots:
        assert here.run_source(source, snapshot, ["tokenized", "packed"]).success


def mixture_inputs(here: Here, version: str) -> set[str]:
    manifest = here.demo.committed(here.store, version)
    assert manifest is not None
    return {*manifest.inputs}


@pytest.mark.slow
def test_a_snapshot_that_fails_its_check_is_seen_by_nobody(here: Here) -> None:
    land_good(here)
    assert here.run_source("docs", "2026-01", STAGES).success
    assert here.run_source("code", "2026-01", STAGES).success
    here.land("docs", "2026-02", {"a.jsonl": jsonl(paragraphs(20, 30)), "bad.jsonl": BAD})

    failed = here.run_source("docs", "2026-02", STAGES)
    assert not failed.success
    assert here.check_results("docs/raw")["quarantine_rate"] == [False, True]
    assert here.check_results("docs/raw")["ledger_balances"] == [True, True]
    assert "quarantine_rate" in str(failed.failure_data_for_node("docs__raw"))
    executed = {event.step_key for event in failed.all_events if event.is_step_start}
    assert executed == {"docs__raw"}
    assert here.materialized("docs/raw") == here.materialized("docs/cleaned") == {"2026-01"}
    assert here.texts("docs", "raw").keys() == here.texts("docs").keys() == {"2026-01"}
    assert not [name for name in here.store.source("docs").find() if "2026-02" in name]
    assert attempts_on_record(Path(here.store.root.path)) == []

    # What comes after it cannot be made, and what comes later is not judged against it.
    assert not here.run_source("docs", "2026-02", ["cleaned"]).success
    here.land("docs", "2026-03", {"a.jsonl": jsonl(paragraphs(15, 30))})
    assert here.run_source("docs", "2026-03", STAGES).success
    assert here.check_results("docs/deduped")["earlier_snapshots_complete"] == [False, True]
    kept = here.link("docs/deduped").committed(here.store, "2026-03")
    assert kept is not None and kept.ledger.kept.documents == 10
    assert set(kept.inputs) == {"docs/cleaned[2026-01]", "docs/cleaned[2026-03]"}

    finish(here, ("docs", "2026-01"), ("docs", "2026-03"), ("code", "2026-01"))
    version = here.run_mixture()
    packed = {"docs/packed[2026-01]", "docs/packed[2026-03]", "code/packed[2026-01]"}
    assert mixture_inputs(here, version) == packed
    refusal = here.store.refusals.get("docs/raw", "2026-02")
    assert refusal is not None and refusal.failed.keys() == {"quarantine_rate"}
    assert here.link("docs/raw").state(here.store, "2026-02") is State.REFUSED
    assert is_settled(here.docs, here.store, "2026-02")

    # When it is repaired, it is seen, and verdicts that were made without it are stale.
    here.store.landing.remove("docs/2026-02/bad.jsonl")
    assert here.run_source("docs", "2026-02", STAGES).success
    assert here.store.refusals.get("docs/raw", "2026-02") is None
    assert here.link("docs/deduped").state(here.store, "2026-03") is State.STALE
    assert here.texts("docs").keys() == {"2026-01", "2026-02", "2026-03"}


@pytest.mark.slow
def test_what_was_good_stays_when_what_lands_becomes_bad(here: Here) -> None:
    land_good(here)
    for source in ("docs", "code"):
        assert here.run_source(source, "2026-01", STAGES).success
    finish(here, ("docs", "2026-01"), ("code", "2026-01"))
    version = here.run_mixture()
    raw = here.link("docs/raw")
    before, manifest, texts = (
        visible_bytes(Path(here.store.root.path)),
        raw.committed(here.store, "2026-01"),
        here.texts("docs"),
    )

    here.land("docs", "2026-01", {"a.jsonl": jsonl(paragraphs(0, 5)), "bad.jsonl": BAD})
    assert raw.state(here.store, "2026-01") is State.STALE
    assert not here.run_source("docs", "2026-01", ["raw", "cleaned", "deduped", "tokenized", "packed"]).success
    assert here.check_results("docs/raw")["quarantine_rate"] == [False, True]
    assert raw.state(here.store, "2026-01") is State.REFUSED
    assert raw.committed(here.store, "2026-01") == manifest
    assert here.texts("docs") == texts and visible_bytes(Path(here.store.root.path)) == before

    # Runs of everything after it go on with the old.
    assert here.run_source("docs", "2026-01", ["cleaned", "deduped", "tokenized", "packed"]).success
    assert here.texts("docs") == texts
    assert here.run_mixture() == version
    assert is_settled(here.docs, here.store, "2026-01")
    assert len(here.materialized("demo/mixed")) == 1


@pytest.mark.slow
def test_a_later_link_that_fails_leaves_what_was_before_it(here: Here) -> None:
    here.land("docs", "2026-01", {"a.jsonl": jsonl(["too short"] * 5)})
    result = here.run_source("docs", "2026-01", STAGES)
    assert not result.success
    assert here.materialized("docs/raw") == {"2026-01"} and here.materialized("docs/cleaned") == set()
    assert here.check_results("docs/cleaned")["documents_kept"] == [False]
    assert here.check_results("docs/cleaned")["drop_rate"] == [False]
    assert here.link("docs/cleaned").committed(here.store, "2026-01") is None
    assert here.link("docs/cleaned").state(here.store, "2026-01") is State.REFUSED


@pytest.mark.slow
def test_a_check_that_only_warns_stops_nothing(here: Here) -> None:
    here.land("docs", "2026-01", {"a.jsonl": jsonl(["too short"] * 5 + paragraphs(0, 2))})
    assert here.run_source("docs", "2026-01", STAGES).success
    assert here.check_results("docs/cleaned")["drop_rate"] == [False]
    assert here.materialized("docs/deduped") == {"2026-01"}


@pytest.mark.slow
@pytest.mark.parametrize("event", [dg.DagsterEventType.HANDLED_OUTPUT, dg.DagsterEventType.ASSET_MATERIALIZATION])
def test_an_error_after_the_commit_costs_no_data(
    event: dg.DagsterEventType, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The instance cannot store an event: the run fails, but what was committed is there."""
    here.land("docs", "2026-01", {"a.jsonl": jsonl(paragraphs(0, 20))})
    assert here.run_source("docs", "2026-01", ["raw"]).success
    handle = dg.DagsterInstance.handle_new_event

    def locked(self: dg.DagsterInstance, entry: Any, **options: Any) -> None:
        found = entry.dagster_event
        if found and found.event_type is event and found.step_key == "docs__cleaned":
            raise OSError("database is locked")
        handle(self, entry, **options)

    with monkeypatch.context() as patch:
        patch.setattr(dg.DagsterInstance, "handle_new_event", locked)
        assert not _succeeds(here, ["docs/cleaned"], "2026-01")
    assert here.texts("docs") == {"2026-01": paragraphs(0, 20)}
    assert here.link("docs/cleaned").state(here.store, "2026-01") is State.CURRENT
    assert here.run_source("docs", "2026-01", ["cleaned", "deduped"]).success


def _succeeds(here: Here, assets: list[str], partition: str) -> bool:
    try:
        return here.run(assets, partition).success
    except OSError:
        return False


@pytest.mark.slow
def test_what_a_partition_says_of_itself_is_what_was_committed(here: Here) -> None:
    land_good(here)
    assert here.run_source("docs", "2026-01", STAGES).success
    manifest = here.link("docs/cleaned").committed(here.store, "2026-01")
    record = here.instance.get_latest_data_version_record(asset_key("docs/cleaned"), partition_key="2026-01")
    assert manifest is not None and record is not None and record.asset_materialization is not None
    materialization = record.asset_materialization
    assert (materialization.tags or {})["dagster/data_version"] == manifest.digest
    assert json.dumps(manifest.ledger.kept.documents) in str(materialization.metadata)
