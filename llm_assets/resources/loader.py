"""The loader as a resource: how an asset or a job trains from a mixture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, cast

import dagster as dg
from pydantic import Field, TypeAdapter

from llm_assets.contract.plugin import declared_plugin

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from llm_assets.loader import Dtype, TokenLoader
    from llm_assets.loader import Field as BatchField
    from llm_assets.loader.transforms import Transform
    from llm_assets.store.folder import Folder
    from llm_assets.store.shards.shard_set import ShardSet


class BatchSize(dg.Config):
    """From row `from_row` of the stream on, global batches have `rows` rows."""

    from_row: int
    rows: int


class CacheConfig(dg.Config):
    """A cache on local disk for sets that lie elsewhere; see `llm_assets.loader.cache.CacheSettings`."""

    folder: str
    quota_bytes: int
    processes: int = 1


class TransformConfig(dg.PermissiveConfig):
    """A transform of batches (`llm_assets.loader.transforms.Transform`) and its parameters.

    `use` is an entry point of the group `llm_assets.transforms`, or `package.module:Class`.
    """

    use: str


class LoaderResource(dg.ConfigurableResource[None]):
    """Opens shard sets for training: what `TokenLoader` takes, as configuration.

    `batch_size` is global, in rows of `sequence_length` tokens; a set with fewer rows is one batch of as many as the
    ranks can share. `batch_schedule` takes its place where batches change their size. A loader ends after `epochs`
    epochs; without a number it never does. Empty `fields` are those that the loader has by default, an empty `device`
    is the memory of the process.
    """

    batch_size: int = 8
    batch_schedule: list[BatchSize] = Field(default=[])
    micro_batch_size: int | None = None
    sequence_length: int | None = None
    rank: int = 0
    world_size: int = 1
    epochs: int | None = 1
    seed: int | None = None
    block: int = 64
    fields: list[str] = Field(default=[])
    shift_labels: bool = False
    dtype: str = "int64"
    device: str = ""
    prefetch: int | None = None
    validate_batches: bool = False
    cache: CacheConfig | None = None
    transforms: list[TransformConfig] = Field(default=[])

    def open(
        self,
        source: str | Folder | ShardSet,
        *,
        rank: int | None = None,
        world_size: int | None = None,
        mesh: DeviceMesh | None = None,
        data_parallel: str | Sequence[str] = (),
    ) -> TokenLoader:
        """A loader of a set, by URI, by its folder in the store, or opened. Needs the extra `train`.

        A job whose processes learn only then which rank they are says it here: by numbers, or by a mesh. Raises
        ValueError for a configuration that no loader can have, and what opening a set or its cache raises.
        """
        # torch takes a second to import, which runs that train nothing should not pay
        from llm_assets.loader import Ranks, TokenLoader
        from llm_assets.loader.fields import FIELDS

        shards = self._opened(source)
        by_mesh = mesh is not None
        world = self.world_size if world_size is None else world_size
        return TokenLoader(
            shards,
            batch_size=self._batch_sizes(shards, Ranks.of_mesh(mesh, data_parallel).world_size if by_mesh else world),
            micro_batch_size=self.micro_batch_size,
            sequence_length=self.sequence_length,
            rank=0 if by_mesh else self.rank if rank is None else rank,
            world_size=1 if by_mesh else world,
            mesh=mesh,
            data_parallel=data_parallel,
            epochs=self.epochs,
            seed=self.seed,
            block=self.block,
            fields=cast("list[BatchField]", self.fields) or FIELDS,
            shift_labels=self.shift_labels,
            dtype=cast("Dtype", self.dtype),
            device=self.device or None,
            prefetch=self.prefetch,
            validate=self.validate_batches,
            transforms=[_transform(each) for each in self.transforms],
        )

    def _opened(self, source: str | Folder | ShardSet) -> ShardSet:
        from llm_assets.store.shards.shard_set import ShardSet

        if self.cache is None:
            return source if isinstance(source, ShardSet) else ShardSet.open(source)
        from llm_assets.loader.cache import CacheSettings, open_cached

        where = source.folder if isinstance(source, ShardSet) else source
        return open_cached(where, CacheSettings(self.cache.folder, self.cache.quota_bytes, self.cache.processes))

    def _batch_sizes(self, shards: ShardSet, world_size: int) -> int | list[tuple[int, int]]:
        if self.batch_schedule:
            return [(size.from_row, size.rows) for size in self.batch_schedule]
        division = shards.sequence_length // self.sequence_length if self.sequence_length else 1
        rows = shards.rows * max(1, division)
        if self.batch_size <= rows:
            return self.batch_size
        share = max(1, world_size) * max(1, self.micro_batch_size or 1)
        return max(rows // share, 1) * share


def _transform(config: TransformConfig) -> Transform:
    """Raises PluginError where there is no such transform, ValueError for parameters that it cannot have."""
    from llm_assets.loader.transforms import Transform

    kind, parameters = declared_plugin("llm_assets.transforms", config.model_dump(), Transform)
    known = [each.name for each in fields(kind)] if is_dataclass(kind) else []
    if unknown := [name for name in parameters if name not in known]:
        raise ValueError(f"{config.use} has no parameters {', '.join(unknown)}; it has: {', '.join(known) or 'none'}")
    return TypeAdapter(kind).validate_python(parameters)
