"""The loader resource: its configuration reaches the loader, and any job or asset can take one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
import torch
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from llm_assets.components.declared import load_project
from llm_assets.definitions import PROJECT, build_defs
from llm_assets.loader import TokenLoader
from llm_assets.loader.cache import CachedShardSet
from llm_assets.loader.fields import FIELDS
from llm_assets.loader.transforms import RandomMask
from llm_assets.resources.data_store import DataStore
from llm_assets.resources.io_manager import NotStagedError, PartitionIOManager
from llm_assets.resources.loader import BatchSize, CacheConfig, LoaderResource, TransformConfig
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets_tests.loader.own_transforms import HERE, Raised
from llm_assets_tests.loader.sets import LENGTH, VOCABULARY, write

GUIDE = Path(__file__).parents[2] / "docs/loader.md"


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    return write(tmp_path_factory.mktemp("set"), 101)


def taken_by_a_job(shards: ShardSet, config: dict[str, Any]) -> TokenLoader:
    """What an op gets, the resource configured as in a launchpad or a YAML file."""
    got: list[TokenLoader] = []

    @dg.op
    def trains(loader: LoaderResource) -> None:
        got.append(loader.open(shards.uri))

    @dg.job(resource_defs={"loader": LoaderResource.configure_at_launch()})
    def training() -> None:
        trains()

    assert training.execute_in_process(run_config={"resources": {"loader": {"config": config}}}).success
    return got[0]


def test_a_job_trains_from_a_set_as_configured(shards: ShardSet) -> None:
    config = {
        "batch_size": 24,
        "micro_batch_size": 4,
        "sequence_length": 6,
        "rank": 1,
        "world_size": 3,
        "epochs": 2,
        "seed": 5,
        "fields": ["input_ids", "row_ids"],
        "dtype": "int32",
        "prefetch": 2,
        "validate_batches": True,
    }
    loader = taken_by_a_job(shards, config)
    alike = TokenLoader(
        shards,
        batch_size=24,
        micro_batch_size=4,
        sequence_length=6,
        rank=1,
        world_size=3,
        epochs=2,
        seed=5,
        fields=["input_ids", "row_ids"],
        dtype="int32",
    )
    assert loader.state_dict() == alike.state_dict() and len(loader) == len(alike)
    for batch, expected in zip(loader, alike, strict=True):
        assert batch.keys() == expected.keys() == {"input_ids", "row_ids"}
        assert batch["input_ids"].dtype == torch.int32 and batch["input_ids"].shape == (4, 6)
        assert all(torch.equal(batch[name], expected[name]) for name in batch)


def test_batches_that_change_their_size_and_read_through_a_cache(shards: ShardSet, tmp_path: Path) -> None:
    config = {
        "batch_schedule": [{"from_row": 0, "rows": 4}, {"from_row": 8, "rows": 10}],
        "shift_labels": True,
        "cache": {"folder": str(tmp_path / "cache"), "quota_bytes": 1 << 20},
    }
    loader = taken_by_a_job(shards, config)
    assert isinstance(loader.set, CachedShardSet)
    sizes = [len(batch["input_ids"]) for batch in loader]
    assert sizes == [4, 4, *[10] * 9] and loader.set.counters.bytes_fetched > 0
    loader.set.close()


def test_by_default_it_is_the_loader_as_it_comes(shards: ShardSet) -> None:
    loader = LoaderResource().open(shards)
    assert loader.set is shards and set(next(iter(loader))) == {"input_ids", "labels", "position_ids", "document_ids"}
    assert loader.schedule.sizes == ((0, 8),) and loader.epochs == 1


def test_a_set_smaller_than_the_batch_is_one_batch(shards: ShardSet) -> None:
    (batch,) = LoaderResource(batch_size=5000).open(shards)
    assert batch["input_ids"].shape == (101, LENGTH)
    (batch,) = LoaderResource(batch_size=5000, sequence_length=LENGTH // 2).open(shards)
    assert batch["input_ids"].shape == (202, LENGTH // 2)


def test_a_set_smaller_than_the_batch_is_shared_by_all_ranks(shards: ShardSet) -> None:
    resource = LoaderResource(batch_size=5000, world_size=4, micro_batch_size=3)
    (*micro_batches,) = resource.open(shards)
    assert [len(batch["input_ids"]) for batch in micro_batches] == [3] * (101 // 12)
    with pytest.raises(ValueError, match="has only 101"):
        LoaderResource(batch_size=5000, world_size=200).open(shards)


def test_a_folder_of_the_store_is_opened_and_blocks_are_configuration(shards: ShardSet) -> None:
    loader = LoaderResource(batch_size=101, seed=1, block=7, epochs=2).open(shards.folder)
    assert loader.state_dict() == TokenLoader(shards, batch_size=101, seed=1, block=7, epochs=2).state_dict()


def test_a_process_that_learns_its_rank_late_says_it(shards: ShardSet) -> None:
    resource = LoaderResource(batch_size=6, world_size=2)
    parts = [next(iter(resource.open(shards, rank=rank, world_size=3)))["input_ids"] for rank in range(3)]
    whole = next(iter(resource.open(shards, rank=0, world_size=1)))["input_ids"]
    assert np.array_equal(torch.cat(parts), whole)
    assert resource.open(shards).ranks.world_size == 2


@pytest.fixture
def mesh(tmp_path: Path) -> Any:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    yield init_device_mesh("cpu", (1, 1), mesh_dim_names=("data", "model"))
    torch.distributed.destroy_process_group()


def test_a_mesh_says_the_rank_too(shards: ShardSet, mesh: DeviceMesh) -> None:
    loader = LoaderResource(rank=1, world_size=2).open(shards, mesh=mesh, data_parallel="data")
    assert (loader.ranks.rank, loader.ranks.world_size) == (0, 1)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"sequence_length": 5}, "sequence_length 5 does not divide"),
        ({"rank": 2, "world_size": 2}, "rank 2"),
        ({"fields": ["input_idz"]}, "input_idz"),
        ({"dtype": "int8"}, "int8"),
        ({"batch_schedule": [BatchSize(from_row=3, rows=4)]}, "must start at 0"),
    ],
)
def test_a_configuration_that_no_loader_can_have_is_refused(shards: ShardSet, wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        LoaderResource(**wrong).open(shards)


def _resources(**given: Any) -> dict[str, Any]:
    """The resources of the demonstration, some of them given."""
    return dict(build_defs(given).resources or {})


def test_a_loader_given_to_a_project_is_the_one_that_assets_get(tmp_path: Path, shards: ShardSet) -> None:
    """A downstream asset takes a mixture as its input, from the store and with the loader of its project."""
    root = tmp_path / "store"
    (root / "mixtures/demo").mkdir(parents=True)
    (root / "mixtures/demo/v1").symlink_to(shards.uri, target_is_directory=True)
    got: list[TokenLoader] = []

    @dg.asset(ins={"loader": dg.AssetIn(["demo", "mixed"])})
    def trained(loader: TokenLoader) -> None:
        got.append(loader)

    store, loader = DataStore(root=str(root)), LoaderResource(batch_size=3, sequence_length=4)
    assert _resources(data_store=store, loader=loader)["loader"] is loader
    manager = PartitionIOManager(load_project(PROJECT), store, loader)
    versions = dg.DynamicPartitionsDefinition(name="demo/versions")
    context = dg.build_input_context(
        asset_key=dg.AssetKey(["demo", "mixed"]),
        asset_partitions_def=versions,
        asset_partition_key_range=dg.PartitionKeyRange("v1", "v1"),
        instance=_instance_with(versions),
    )
    trained(manager.load_input(context))
    assert next(iter(got[0]))["input_ids"].shape == (3, 4)
    assert _resources(io_manager=manager)["io_manager"] is manager


def test_the_assets_and_ops_of_the_guide_train(tmp_path: Path, shards: ShardSet) -> None:
    (block,) = [code for code in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL) if "@dg.op" in code]
    seen: list[int] = []
    names: dict[str, Any] = {"TokenLoader": TokenLoader, "train": lambda batch: seen.append(len(batch["input_ids"]))}
    exec(compile(block, str(GUIDE), "exec"), names)
    for version in ("v1", "v2"):
        write(tmp_path / "mixtures/demo" / version, 101 if version == "v1" else 40)
    resources = _resources(data_store=DataStore(root=str(tmp_path)), **names["resources"])
    versions = dg.DynamicPartitionsDefinition(name="demo/versions")
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions("demo/versions", ["v1", "v2"])
    mixed = dg.AssetSpec(["demo", "mixed"], partitions_def=versions)
    asset = names["trained"]
    assert dg.materialize([mixed, asset], selection=[asset], instance=instance, resources=resources).success
    assert seen == [32] * (2 * 40 // 32)
    seen.clear()
    job = dg.GraphDefinition("training", node_defs=[names["train_one_version"]]).to_job(resource_defs=resources)
    assert job.execute_in_process().success and seen == [32] * (2 * 101 // 32)


def outcome(returned: Any) -> dg.ExecuteInProcessResult:
    """A job of somebody else's op, with the resources of a project."""

    def trains(loader: LoaderResource) -> Any:
        return returned

    del trains.__annotations__["return"]  # as users write it: with `-> None` Dagster asks no IO manager
    trains = dg.op(trains)

    @dg.job(resource_defs=_resources())
    def training() -> None:
        trains()

    return training.execute_in_process()


def test_ops_that_return_nothing_need_no_annotation() -> None:
    assert outcome(None).success


def test_a_value_that_cannot_be_kept_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(NotStagedError, match=r"^trains returns a dict: .* name another io_manager_key"):
        outcome({"loss": 1.0})


def _instance_with(versions: dg.DynamicPartitionsDefinition) -> dg.DagsterInstance:
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions(str(versions.name), ["v1"])
    return instance


def test_a_cache_is_configuration(shards: ShardSet, tmp_path: Path) -> None:
    cache = CacheConfig(folder=str(tmp_path / "c"), quota_bytes=1 << 20, processes=2)
    loader = LoaderResource(cache=cache, batch_size=101).open(shards)
    assert torch.equal(next(iter(loader))["input_ids"], next(iter(TokenLoader(shards, batch_size=101)))["input_ids"])


USE = f"{HERE}:Raised"


def test_transforms_are_named_in_the_configuration(shards: ShardSet) -> None:
    config = {"transforms": [{"use": USE, "by": 3}, {"use": "llm_assets.loader.transforms:RandomMask", **MASKED}]}
    (loader,) = [taken_by_a_job(shards, {"fields": [*FIELDS, "row_ids"], **config})]
    expected = TokenLoader(
        shards,
        batch_size=8,
        fields=[*FIELDS, "row_ids"],
        transforms=[Raised(3), RandomMask(4, VOCABULARY, 0.5, never=[5, 6])],
    )
    assert loader.state_dict() == expected.state_dict()
    for batch, wanted in zip(loader, expected, strict=True):
        assert all(torch.equal(batch[name], wanted[name]) for name in wanted)


MASKED = {"mask_id": 4, "vocabulary_size": VOCABULARY, "probability": 0.5, "never": [5, 6]}


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"use": USE, "bi": 3}, "Raised has no parameters bi; it has: by, refused"),
        ({"use": USE, "by": "far"}, "should be a valid integer"),
        ({"use": USE, "version": "1"}, "version 1 is asked for, and .*Raised is version 2"),
        ({"use": "noise"}, "no installed package has an entry point 'noise' of the group llm_assets.transforms"),
        ({"use": f"{HERE}:Batch"}, "is no subclass of llm_assets.loader.transforms:Transform"),
        ({"use": "llm_assets.loader.transforms:Transform"}, "lacks __call__"),
    ],
)
def test_a_transform_that_cannot_be_is_refused(shards: ShardSet, config: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        LoaderResource(transforms=[TransformConfig(**config)]).open(shards)
