"""What an asset of one's own gets: handles to committed partitions, and a loader of a mixture."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import torch

from llm_assets.components.declared import load_project
from llm_assets.contract.verdicts import JudgedDocuments
from llm_assets.definitions import PROJECT
from llm_assets.loader import TokenLoader
from llm_assets.project import Project
from llm_assets.resources.data_store import DataStore
from llm_assets.resources.io_manager import NotCommittedError, PartitionIOManager
from llm_assets.resources.loader import LoaderResource
from llm_assets.stages.mix.link import MixedLink
from llm_assets.stages.smoke_train.link import SmokeTrainLink, SmokeTrainParameters
from llm_assets.store.documents import CommittedSnapshot
from llm_assets.store.ledger import Ledger
from llm_assets.store.manifest import Manifest
from llm_assets.store.reports import REPORT, StagedReport, StoredReport, report_digest
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets.store.token_set import TokenSet
from llm_assets.store.tokenizers import StoredTokenizer
from llm_assets_tests.end_to_end.conftest import Demo

VERSIONS = dg.DynamicPartitionsDefinition(name="demo/versions")
SNAPSHOTS = dg.DynamicPartitionsDefinition(name="docs/snapshots")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("dagster-dev")]

Take = Callable[..., Any]


@pytest.fixture
def take(demo: Demo) -> Take:
    """Run an asset downstream of another one; give what it got as its input."""

    project = _with_smoke_train(load_project(PROJECT))

    def run(upstream: str, partition: str | None, definition: dg.PartitionsDefinition | None, keys: list[str]) -> Any:
        got: list[Any] = []
        source = dg.AssetSpec(dg.AssetKey(upstream.split("/")), partitions_def=definition)
        own = definition if partition is not None else None

        @dg.asset(ins={"handle": dg.AssetIn(dg.AssetKey(upstream.split("/")))}, partitions_def=own)
        def downstream(handle: Any) -> None:
            got.append(handle)

        data_store, loader = DataStore(root=str(demo.place.root)), LoaderResource(batch_size=16)
        with dg.DagsterInstance.ephemeral() as instance:
            if isinstance(definition, dg.DynamicPartitionsDefinition):
                instance.add_dynamic_partitions(str(definition.name), keys)
            manager = PartitionIOManager(project, data_store, loader)
            dg.materialize(
                [source.with_io_manager_key("io_manager"), downstream],
                instance=instance,
                partition_key=partition,
                resources={"io_manager": _reads_with(manager)},
                selection=[downstream],
            )
        return got[0]

    return run


def _with_smoke_train(project: Project) -> Project:
    """The demonstration, whose mixture asks for no report, with one."""
    mixed = project.of_kind(MixedLink)["demo"]
    smoke_train = SmokeTrainLink(mixed, SmokeTrainParameters())
    links = {**project.links, smoke_train.asset: smoke_train}
    return Project({asset: partial(links.__getitem__, asset) for asset in links})


def _reads_with(manager: PartitionIOManager) -> Any:
    """Inputs by the manager under test; the downstream asset's own output (None) goes nowhere."""

    class OnlyInputs(dg.IOManager):
        def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
            assert obj is None

        def load_input(self, context: dg.InputContext) -> Any:
            return manager.load_input(context)

    return dg.IOManagerDefinition.hardcoded_io_manager(OnlyInputs())


def test_a_mixture_is_a_loader(take: Take) -> None:
    loader = take("demo/mixed", "v1", VERSIONS, ["v1"])
    assert isinstance(loader, TokenLoader)
    batch = next(iter(loader))
    assert batch["input_ids"].shape == (16, 512)
    assert batch["input_ids"].dtype == torch.int64


def test_several_versions_are_a_dict_of_loaders(demo: Demo, take: Take) -> None:
    recipe = demo.place.root / "mixtures/demo/v1"
    copy = demo.place.root / "mixtures/demo/v2"
    if not copy.exists():
        copy.symlink_to(recipe, target_is_directory=True)
    try:
        loaders = take("demo/mixed", None, VERSIONS, ["v1", "v2"])
    finally:
        copy.unlink()
    assert set(loaders) == {"v1", "v2"}
    assert all(isinstance(loader, TokenLoader) for loader in loaders.values())


@pytest.mark.parametrize(
    ("upstream", "kind"),
    [
        ("docs/raw", CommittedSnapshot),
        ("docs/cleaned", CommittedSnapshot),
        ("docs/deduped", JudgedDocuments),
        ("docs/tokenized", TokenSet),
        ("docs/packed", ShardSet),
    ],
)
def test_a_partition_of_a_source_is_a_handle(take: Take, upstream: str, kind: type) -> None:
    assert isinstance(take(upstream, "2026-01", SNAPSHOTS, ["2026-01"]), kind)


def test_a_tokenizer_is_a_handle(take: Take) -> None:
    tokenizer = take("tokenizers/demo_bpe", None, None, [])
    assert isinstance(tokenizer, StoredTokenizer)
    assert tokenizer.json_text.startswith("{")


def test_a_report_is_a_handle(demo: Demo, take: Take) -> None:
    folder = DataStore(root=str(demo.place.root)).store.report("demo/smoke_train", "v1")
    results = {"losses": [9.0, 8.0]}
    digest = report_digest(results)
    manifest = Manifest("demo/smoke_train", "v1", digest[:12], "1", {}, digest, Ledger())
    StagedReport(folder, results, {}, manifest).commit()
    try:
        assert take("demo/smoke_train", "v1", VERSIONS, ["v1"]) == StoredReport(manifest, results, {})
    finally:
        folder.remove(REPORT)
    with pytest.raises(NotCommittedError, match=r"demo/smoke_train\[v1\] has no committed data"):
        take("demo/smoke_train", "v1", VERSIONS, ["v1"])


def test_what_is_not_committed_is_an_error_that_says_what_to_do(take: Take) -> None:
    with pytest.raises(NotCommittedError, match=r"docs/packed\[1999\] has no committed data: materialize it first"):
        take("docs/packed", "1999", SNAPSHOTS, ["1999"])


def test_the_loader_resource_opens_by_uri(demo: Demo) -> None:
    uri = Path(demo.place.root) / "mixtures/demo/v1"
    loader = LoaderResource(batch_size=4, rank=1, world_size=2).open(str(uri))
    assert next(iter(loader))["input_ids"].shape == (2, 512)
