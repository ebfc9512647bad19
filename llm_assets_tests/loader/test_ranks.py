from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.testing._internal.distributed.fake_pg import FakeStore

from llm_assets.loader import Ranks, TokenLoader
from llm_assets.store.shards.shard_set import ShardSet


@contextmanager
def mesh_as(rank: int) -> Iterator[DeviceMesh]:
    """A mesh of 2 × 3 × 2 × 2 processes, as one of them sees it."""
    dist.init_process_group("fake", rank=rank, world_size=24, store=FakeStore())
    try:
        yield init_device_mesh("cpu", (2, 3, 2, 2), mesh_dim_names=("replicate", "pipeline", "shard", "tensor"))
    finally:
        dist.destroy_process_group()


def test_the_rank_is_the_place_along_the_data_parallel_dimensions() -> None:
    for rank in range(24):
        replicate, shard = rank // 12, rank // 2 % 2
        with mesh_as(rank) as mesh:
            assert Ranks.of_mesh(mesh, ("replicate", "shard")) == Ranks(2 * replicate + shard, 4)
            assert Ranks.of_mesh(mesh, ("shard", "replicate")) == Ranks(2 * shard + replicate, 4)
            assert Ranks.of_mesh(mesh, "shard") == Ranks(shard, 2)


@pytest.mark.parametrize("dimensions", [(), "data", ("shard", "shard"), ("shard", "data")])
def test_dimensions_that_are_not_there_are_refused(dimensions: str | tuple[str, ...]) -> None:
    with mesh_as(0) as mesh, pytest.raises(ValueError, match="data-parallel dimensions"):
        Ranks.of_mesh(mesh, dimensions)


@pytest.mark.parametrize(("rank", "world_size"), [("0", "2"), (0, 2.0), (None, 1)])
def test_ranks_are_numbers(rank: Any, world_size: Any) -> None:
    with pytest.raises(ValueError, match=rf"rank {rank!r} of a world of {world_size!r}: give both as int"):
        Ranks(rank, world_size)


def test_a_loader_takes_its_rank_from_a_mesh(shards: ShardSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert TokenLoader(shards, batch_size=4).ranks == Ranks(0, 1)
    with mesh_as(23) as mesh:
        loader = TokenLoader(shards, batch_size=12, mesh=mesh, data_parallel=["replicate", "shard"])
        with pytest.raises(ValueError, match="given twice"):
            TokenLoader(shards, batch_size=12, mesh=mesh, data_parallel="shard", world_size=2)
    assert loader.ranks == Ranks(3, 4)
    assert next(iter(loader))["input_ids"].tolist() == shards.input_ids(9, 12).tolist()
