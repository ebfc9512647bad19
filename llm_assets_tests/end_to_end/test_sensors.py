from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from llm_assets.definitions import build_defs
from llm_assets.stages.mix.version.registry import Versions
from llm_assets.store.folder import Folder
from llm_assets.store.layout import Store
from llm_assets_tests.cli.bad_files import paragraph
from llm_assets_tests.end_to_end.conftest import Demo
from llm_assets_tests.end_to_end.projects import DECLARATIONS, land, write_project
from llm_assets_tests.end_to_end.servers import DagsterDev, Place, dagster_dev, wait_for

NUMBERS = count()
CHAIN = ["web/raw", "web/cleaned", "web/deduped"]
REST = ["web/tokenized", "web/packed"]


@dataclass
class Automation:
    """A project with one source and one mixture, and an instance that remembers what its sensors asked for."""

    definitions: dg.Definitions
    instance: dg.DagsterInstance
    landing: Path

    def tick(self, sensor: str) -> tuple[list[dg.RunRequest], str]:
        """Evaluate a sensor once: the runs it requests, with their partitions added, or why it skips."""
        resources = {"data_store": (self.definitions.resources or {})["data_store"]}
        context = dg.build_sensor_context(self.instance, definitions=self.definitions, resources=resources)
        result = self.definitions.resolve_sensor_def(sensor)(context)
        if isinstance(result, dg.SkipReason):
            return [], result.skip_message
        assert isinstance(result, dg.SensorResult)
        for request in result.dynamic_partitions_requests or []:
            assert isinstance(request, dg.AddDynamicPartitionsRequest)
            self.instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
        return list(result.run_requests or []), ""

    def request(self, sensor: str) -> dg.RunRequest:
        """The one run that a tick requests."""
        (request,), _ = self.tick(sensor)
        return request

    def make(self, assets: Sequence[str], partition: str | None) -> bool:
        """Run assets; whether that succeeds."""
        result = self.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            partition_key=partition,
            asset_selection=[dg.AssetKey(asset.split("/")) for asset in assets],
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
        return result.success

    def fulfil(self, request: dg.RunRequest) -> bool:
        """Run what a sensor requested; whether that succeeds."""
        assert request.asset_selection is not None
        return self.make([key.to_user_string() for key in request.asset_selection], request.partition_key)


@pytest.fixture
def automation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Automation]:
    module = f"corpora_sensed_{next(NUMBERS)}"
    project = write_project(tmp_path / "project", module, DECLARATIONS)
    monkeypatch.syspath_prepend(str(project))
    monkeypatch.setenv("LLM_ASSETS_ROOT", str(tmp_path / "store"))
    with dg.DagsterInstance.ephemeral() as instance:
        yield Automation(build_defs(project=project), instance, tmp_path / "store" / "landing")


def test_nothing_has_landed(automation: Automation) -> None:
    assert automation.tick("web_landing") == ([], "nothing new has landed")
    assert automation.instance.get_dynamic_partitions("web/snapshots") == []


def test_a_snapshot_counts_when_it_is_complete(automation: Automation) -> None:
    folder = land(automation.landing, "web", "2026-01", range(5))
    (folder / "_SUCCESS").unlink()
    assert automation.tick("web_landing") == ([], "nothing new has landed")
    (folder / "_SUCCESS").touch()
    request = automation.request("web_landing")
    assert request.partition_key == "2026-01" and request.asset_selection == [dg.AssetKey(["web", "raw"])]
    assert automation.instance.get_dynamic_partitions("web/snapshots") == ["2026-01"]


def test_until_it_is_read_a_snapshot_is_requested_under_the_same_key(automation: Automation) -> None:
    """Dagster starts no second run for a key, so a tick may come while the first is under way."""
    land(automation.landing, "web", "2026-01", range(5))
    first = automation.request("web_landing")
    assert automation.request("web_landing").run_key == first.run_key
    assert automation.fulfil(first)
    assert automation.tick("web_landing") == ([], "nothing new has landed")


def test_a_second_snapshot_is_requested_alone(automation: Automation) -> None:
    land(automation.landing, "web", "2026-01", range(5))
    automation.fulfil(automation.request("web_landing"))
    land(automation.landing, "web", "2026-02", range(5, 9))
    assert automation.request("web_landing").partition_key == "2026-02"
    assert automation.instance.get_dynamic_partitions("web/snapshots") == ["2026-01", "2026-02"]


def test_files_that_change_after_they_were_read_are_requested_again(automation: Automation) -> None:
    folder = land(automation.landing, "web", "2026-01", range(5))
    first = automation.request("web_landing")
    automation.fulfil(first)
    (folder / "more.txt").write_text("One more document, which came late.")
    again = automation.request("web_landing")
    assert again.partition_key == "2026-01" and again.run_key != first.run_key
    assert automation.fulfil(again)
    assert automation.tick("web_landing") == ([], "nothing new has landed")


def test_a_refused_snapshot_is_requested_again_only_when_it_has_changed(automation: Automation) -> None:
    folder = land(automation.landing, "web", "2026-01", range(5), broken=5)
    first = automation.request("web_landing")
    assert not automation.fulfil(first)
    assert automation.tick("web_landing") == ([], "nothing new has landed")
    (folder / "records.jsonl").write_text(json.dumps({"text": "A document that can be read."}))
    again = automation.request("web_landing")
    assert again.run_key != first.run_key and automation.fulfil(again)


def test_a_bad_name_is_skipped_and_said(automation: Automation) -> None:
    land(automation.landing, "web", "bad name!", range(2))
    requests, why = automation.tick("web_landing")
    assert not requests
    assert why == (
        "nothing new has landed; skipped 'bad name!': a snapshot's name has only letters, digits, '.', '_' and '-'; "
        "rename the folder"
    )


def test_a_bad_name_beside_a_good_one_holds_nothing_up(automation: Automation) -> None:
    land(automation.landing, "web", "bad name!", range(2))
    land(automation.landing, "web", "good-name.1_a", range(2))
    assert automation.request("web_landing").partition_key == "good-name.1_a"
    assert automation.instance.get_dynamic_partitions("web/snapshots") == ["good-name.1_a"]


def test_later_snapshots_are_judged_again_when_an_earlier_one_changes(automation: Automation) -> None:
    for name, numbers in {"2026-01": range(5), "2026-02": range(3, 9)}.items():
        land(automation.landing, "web", name, numbers)
        automation.fulfil(automation.request("web_landing"))
        assert automation.make(CHAIN[1:], name)
    changed = automation.landing / "web" / "2026-01" / "records.jsonl"
    changed.write_text(json.dumps({"text": paragraph(100)}))
    reading = automation.request("web_landing")
    assert reading.partition_key == "2026-01" and automation.fulfil(reading)
    assert automation.make(CHAIN[1:], "2026-01")
    verdicts = automation.request("web_landing")
    assert verdicts.partition_key == "2026-02"
    assert [key.to_user_string() for key in verdicts.asset_selection or []] == ["web/deduped", *REST]


def test_versions_are_made_when_the_sources_are_up_to_date(automation: Automation) -> None:
    assert automation.tick("first_versions") == ([], "not all sources are up to date: web[none]")
    land(automation.landing, "web", "2026-01", range(20))
    automation.fulfil(automation.request("web_landing"))
    assert automation.tick("first_versions") == ([], "not all sources are up to date: web[2026-01]")
    assert automation.make(CHAIN[1:], "2026-01")
    assert automation.make(["tokenizers/bytes_and_more"], None)
    assert automation.make(REST, "2026-01")

    first = automation.request("first_versions")
    assert first.partition_key == "v1" and first.asset_selection == [dg.AssetKey(["first", "mixed"])]
    assert automation.request("first_versions").run_key == first.run_key, "while its run is under way"
    assert automation.fulfil(first)
    assert automation.tick("first_versions") == ([], "v1 is made of what there is now")

    land(automation.landing, "web", "2026-02", range(20, 30))
    second = automation.request("web_landing")
    assert automation.tick("first_versions") == ([], "not all sources are up to date: web[2026-02]")
    automation.fulfil(second)
    assert automation.make([*CHAIN[1:], *REST], "2026-02")
    assert automation.request("first_versions").partition_key == "v2"
    assert automation.instance.get_dynamic_partitions("first/versions") == ["v1", "v2"]


def test_a_refused_snapshot_does_not_hold_up_versions(automation: Automation) -> None:
    land(automation.landing, "web", "2026-01", range(20))
    automation.fulfil(automation.request("web_landing"))
    assert automation.make(CHAIN[1:], "2026-01") and automation.make(["tokenizers/bytes_and_more"], None)
    assert automation.make(REST, "2026-01")
    land(automation.landing, "web", "2026-02", range(20, 25), broken=5)
    assert not automation.fulfil(automation.request("web_landing"))
    assert automation.request("first_versions").partition_key == "v1"


# --- automation conditions -----------------------------------------------------------------------------------------


class Evaluations:
    """Evaluations of all automation conditions, one after the other, as the daemon does them."""

    def __init__(self, automation: Automation) -> None:
        self.automation = automation
        self.cursor: dg.AssetDaemonCursor | None = None

    def requested(self) -> set[str]:
        """What the next evaluation requests, as `asset[partition]`."""
        result = dg.evaluate_automation_conditions(
            self.automation.definitions, self.automation.instance, cursor=self.cursor
        )
        self.cursor = result.cursor
        return {
            f"{one.key.to_user_string()}[{partition or ''}]"
            for one in result.results
            for partition in result.get_requested_partitions(one.key)
        }


def test_each_stage_follows_the_one_before_it_and_the_tokenizer_is_made_once(automation: Automation) -> None:
    evaluations = Evaluations(automation)
    land(automation.landing, "web", "2026-01", range(20))
    reading = automation.request("web_landing")
    assert evaluations.requested() == set()
    automation.fulfil(reading)
    assert evaluations.requested() == {"web/cleaned[2026-01]", "web/deduped[2026-01]"}
    assert automation.make(CHAIN[1:], "2026-01")
    assert evaluations.requested() == {"tokenizers/bytes_and_more[]"}
    assert automation.make(["tokenizers/bytes_and_more"], None)
    assert evaluations.requested() == {"web/tokenized[2026-01]", "web/packed[2026-01]"}
    assert automation.make(REST, "2026-01")
    assert evaluations.requested() == set()

    land(automation.landing, "web", "2026-02", range(20, 40))
    automation.fulfil(automation.request("web_landing"))
    assert evaluations.requested() == {f"{asset}[2026-02]" for asset in [*CHAIN[1:], *REST]}
    assert automation.make([*CHAIN[1:], *REST], "2026-02")
    assert evaluations.requested() == set()


def test_nothing_follows_a_refused_snapshot_nor_waits_for_it(automation: Automation) -> None:
    evaluations = Evaluations(automation)
    land(automation.landing, "web", "2026-01", range(5), broken=5)
    assert not automation.fulfil(automation.request("web_landing"))
    assert evaluations.requested() == set()
    land(automation.landing, "web", "2026-02", range(5, 20))
    automation.fulfil(automation.request("web_landing"))
    assert evaluations.requested() == {"web/cleaned[2026-02]", "web/deduped[2026-02]"}
    assert automation.make(CHAIN[1:], "2026-02")
    assert evaluations.requested() == {"tokenizers/bytes_and_more[]"}


# --- with the daemon -----------------------------------------------------------------------------------------------

RUNS = """{
  runsOrError { ... on Runs { results {
    status assetSelection { path } tags { key value }
  } } }
}"""

VERSIONS = """{
  assetNodeOrError(assetKey: {path: ["demo", "mixed"]}) { ... on AssetNode {
    assetPartitionStatuses { ... on DefaultPartitionStatuses { materializedPartitions failedPartitions } }
  } }
}"""

TICKS = """query Ticks($name: String!) {
  sensorOrError(sensorSelector: {
    repositoryName: "__repository__", repositoryLocationName: "llm_assets", sensorName: $name
  }) { ... on Sensor { sensorState { ticks { skipReason runIds logEvents { events { message } } } } } }
}"""


@pytest.mark.slow
@pytest.mark.xdist_group("dagster-dev")
def test_snapshots_that_arrive_in_turn_become_versions_without_anybody(demo: Demo, tmp_path: Path) -> None:
    """From an empty store: two sources, then one snapshot more. Nobody but the daemon does anything."""
    place = Place.make(tmp_path, LLM_ASSETS_SENSOR_SECONDS="1")
    with dagster_dev(place) as server:
        arrive(demo.place, place, "docs", "2026-01")
        arrive(demo.place, place, "code", "2026-01")
        land(place.root / "landing", "docs", "bad name!", range(1))
        wait_for("the first version", lambda: made(server, "v1"), 500, every=1)
        arrive(demo.place, place, "docs", "2026-02")
        wait_for("the second version", lambda: made(server, "v2"), 500, every=1)
        runs = wait_for("the last run to end", lambda: finished(server), 60)
        sensor = server.query(TICKS, name="docs_landing")["sensorOrError"]["sensorState"]

    assert {run["status"] for run in runs} == {"SUCCESS"}
    times_made = Counter((asset, partition) for run in runs for asset, partition in outputs(run))
    assert set(times_made.values()) == {1}, "nothing is made twice"
    status = {(entry["asset"], entry["partition"]): entry["state"] for entry in place.status()}
    assert set(status) == set(times_made) and set(status.values()) == {"current"}

    versions = Versions(Store(Folder(str(place.root))).mixture("demo"))
    first, second = (versions.recipe(version) for version in ("v1", "v2"))
    assert first is not None and set(first.inputs) == {"code/packed[2026-01]", "docs/packed[2026-01]"}
    assert second is not None and set(second.inputs) == {*first.inputs, "docs/packed[2026-02]"}

    told = "skipped 'bad name!'"
    asked = [tick for tick in sensor["ticks"] if tick["runIds"]]
    assert len(asked) == 2 and all(told in tick["logEvents"]["events"][0]["message"] for tick in asked)
    assert any(told in (tick["skipReason"] or "") for tick in sensor["ticks"])


def arrive(supply: Place, place: Place, source: str, snapshot: str) -> None:
    """A snapshot lands as it should: its files, and then that it is complete."""
    arrived = place.root / "landing" / source / snapshot
    shutil.copytree(supply.root / "landing" / source / snapshot, arrived, ignore=shutil.ignore_patterns("_SUCCESS"))
    (arrived / "_SUCCESS").touch()


def made(server: DagsterDev, version: str) -> bool | None:
    """Whether the version is materialized; None while it is not."""
    partitions = server.query(VERSIONS)["assetNodeOrError"]["assetPartitionStatuses"]
    assert not partitions.get("failedPartitions"), server.log.read_text()[-5000:]
    return version in partitions.get("materializedPartitions", []) or None


def finished(server: DagsterDev) -> list[dict[str, Any]] | None:
    """All runs; None while one is under way."""
    runs = server.query(RUNS)["runsOrError"]["results"]
    return runs if {run["status"] for run in runs} <= {"SUCCESS", "FAILURE", "CANCELED"} else None


def outputs(run: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Assets and partition that a run was for."""
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    for key in run["assetSelection"]:
        yield "/".join(key["path"]), tags.get("dagster/partition", "")
