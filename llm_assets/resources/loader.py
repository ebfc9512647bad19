"""The loader as a resource: how an asset or a job trains from a mixture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from llm_assets.loader import TokenLoader
    from llm_assets.store.shards import ShardSet


class LoaderResource(dg.ConfigurableResource[None]):
    """Opens shard sets for training. `batch_size` is global, in rows; a set with fewer rows is one batch.

    A loader ends after `epochs` epochs; without a number it never does.
    """

    batch_size: int = 8
    rank: int = 0
    world_size: int = 1
    epochs: int | None = 1

    def open(self, source: str | ShardSet) -> TokenLoader:
        """A loader of a set, by URI or opened. Needs the extra `train`."""
        # torch takes a second to import, which runs that train nothing should not pay
        from llm_assets.loader import TokenLoader
        from llm_assets.store.shards import ShardSet

        shards = source if isinstance(source, ShardSet) else ShardSet.open(source)
        return TokenLoader(
            shards,
            batch_size=min(self.batch_size, shards.rows),
            rank=self.rank,
            world_size=self.world_size,
            epochs=self.epochs,
        )
