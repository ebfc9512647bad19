"""What the UI is told: the same facts over GraphQL, of a running `dagster dev`."""

from __future__ import annotations

from typing import Any

import pytest

from llm_assets_tests.end_to_end.conftest import Demo
from llm_assets_tests.end_to_end.servers import DagsterDev

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("dagster-dev")]

_ASSETS = """{ assetNodes {
  assetKey { path } groupName kinds owners { ... on TeamAssetOwner { team } } tags { key value }
  description opVersion isPartitioned partitionDefinition { name }
  dependencyKeys { path }
  assetChecksOrError { ... on AssetChecks { checks {
    name blocking executionForLatestMaterialization { status } } } }
} }"""

_MATERIALIZATION = """query($key: AssetKeyInput!, $partitions: [String!]) {
  assetOrError(assetKey: $key) { ... on Asset {
  assetMaterializations(partitions: $partitions, limit: 1) { tags { key value } metadataEntries { label
    ... on IntMetadataEntry { intValue } ... on TextMetadataEntry { text } ... on PathMetadataEntry { path }
    ... on UrlMetadataEntry { url }
    ... on TableMetadataEntry { table { records } } ... on TableSchemaMetadataEntry { schema { columns { name type } } }
    ... on MarkdownMetadataEntry { mdStr } } } } } }"""

_SENSORS = """{ sensorsOrError(repositorySelector: {
  repositoryName: "__repository__", repositoryLocationName: "llm_assets" }) {
  ... on Sensors { results { name sensorState { status } } } } }"""


@pytest.fixture(scope="module")
def nodes(dev: DagsterDev) -> dict[str, dict[str, Any]]:
    return {"/".join(node["assetKey"]["path"]): node for node in dev.query(_ASSETS)["assetNodes"]}


def test_every_asset_is_there_with_what_it_depends_on(nodes: dict[str, dict[str, Any]]) -> None:
    stages = ["raw", "cleaned", "deduped", "tokenized", "packed"]
    sources = {f"{source}/{stage}" for source in ("docs", "code") for stage in stages}
    assert set(nodes) == sources | {"tokenizers/demo_bpe", "demo/mixed"}
    depends = {key: {"/".join(d["path"]) for d in node["dependencyKeys"]} for key, node in nodes.items()}
    assert depends["docs/tokenized"] == {"docs/deduped", "tokenizers/demo_bpe"}
    assert depends["tokenizers/demo_bpe"] == {"docs/deduped", "code/deduped"}
    assert depends["demo/mixed"] == {"docs/packed", "code/packed"}


def test_every_asset_carries_group_kinds_owners_tags_description_and_code_version(
    nodes: dict[str, dict[str, Any]],
) -> None:
    for key, node in nodes.items():
        assert node["groupName"] == key.split("/")[0]
        assert node["kinds"], key
        assert [owner["team"] for owner in node["owners"]], key
        assert node["description"], key
        assert node["opVersion"], key
    tags = {tag["key"]: tag["value"] for tag in nodes["docs/raw"]["tags"]}
    assert tags["kind"] == "prose"
    assert nodes["docs/raw"]["partitionDefinition"]["name"] == "docs/snapshots"
    assert nodes["demo/mixed"]["partitionDefinition"]["name"] == "demo/versions"
    assert not nodes["tokenizers/demo_bpe"]["isPartitioned"]


def test_every_asset_has_checks_and_all_have_run(dev: DagsterDev, nodes: dict[str, dict[str, Any]]) -> None:
    for key, node in nodes.items():
        checks = node["assetChecksOrError"]["checks"]
        assert any(check["blocking"] for check in checks), key
    query = """query($key: AssetKeyInput!, $name: String!) {
      assetCheckExecutions(assetKey: $key, checkName: $name, limit: 1) { status evaluation { success } } }"""
    for key, node in nodes.items():
        for check in node["assetChecksOrError"]["checks"]:
            found = dev.query(query, key={"path": key.split("/")}, name=check["name"])["assetCheckExecutions"]
            assert found, (key, check["name"])
            if check["blocking"]:
                assert found[0]["status"] == "SUCCEEDED", (key, check["name"])
                assert found[0]["evaluation"]["success"]


@pytest.mark.parametrize("asset", ["docs/raw", "docs/cleaned", "code/packed", "demo/mixed"])
def test_a_materialization_says_what_it_is(demo: Demo, dev: DagsterDev, asset: str) -> None:
    partition = "v1" if asset == "demo/mixed" else "2026-01"
    unit = "rows" if asset.endswith(("packed", "mixed")) else "documents"
    status = next(s for s in demo.place.status() if (s["asset"], s["partition"]) == (asset, partition))
    found = dev.query(_MATERIALIZATION, key={"path": asset.split("/")}, partitions=[partition])
    (materialization,) = found["assetOrError"]["assetMaterializations"]
    entries = {entry["label"]: entry for entry in materialization["metadataEntries"]}
    tags = {tag["key"]: tag["value"] for tag in materialization["tags"]}
    assert tags["dagster/data_version"] == status["digest"] == entries["digest"]["text"]
    assert entries["dagster/partition_row_count"]["intValue"] == status["ledger"]["output"][unit]
    assert entries["bytes"]["intValue"] > 0
    tokens = status["ledger"]["output"].get("tokens")
    assert entries.get("tokens", {}).get("intValue") == tokens and (tokens is None) is (unit == "documents")
    assert entries["dagster/column_schema"]["schema"]["columns"]
    assert status["uri"] in str(entries["dagster/uri"])
    assert '"entry": "in"' in str(entries["ledger"]["table"]["records"]).replace("'", '"')
    assert [label for label, entry in entries.items() if entry.get("mdStr")] == ["report"]
    assert "data:image/svg+xml;base64," in entries["report"]["mdStr"]


def test_the_sensors_run(dev: DagsterDev) -> None:
    states = {s["name"]: s["sensorState"]["status"] for s in dev.query(_SENSORS)["sensorsOrError"]["results"]}
    assert set(states) == {"docs_landing", "code_landing", "demo_versions", "automation"}
    assert set(states.values()) == {"RUNNING"}
