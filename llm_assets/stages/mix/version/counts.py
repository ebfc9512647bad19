"""Counts rows and tokens of each source before any row of a version: the data that a training run has seen.

Exact, at the same cost anywhere: whole shards are counted in the table of shards, the rows of the shard at the position
by the order of the plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from llm_assets.stages.mix.training_order import TrainingOrder
from llm_assets.store.shards.shard_set import Shard, ShardSet


@dataclass(frozen=True)
class Seen:
    """Rows of one source, and their tokens without padding."""

    rows: int
    tokens: int


def seen_before(shards: ShardSet, position: int) -> Mapping[str, Seen]:
    """Counts by source in the rows of a committed version before a position.

    Raises IndexError for a position outside the version.
    """
    plan = shards.index.manifest["details"]["plan"]
    return seen_at(shards, TrainingOrder.from_dict(plan["seed"], plan), [position])[0]


def seen_at(shards: ShardSet, order: TrainingOrder, positions: Sequence[int]) -> list[Mapping[str, Seen]]:
    """`seen_before` at several positions of a version with this order, committed or staged. Raises IndexError."""
    table = shards.shards()
    return [_seen(shards, table, order, position) for position in positions]


def _seen(shards: ShardSet, table: Sequence[Shard], order: TrainingOrder, position: int) -> Mapping[str, Seen]:
    if not 0 <= position <= shards.rows:
        raise IndexError(f"position {position} of a version of {shards.rows} rows")
    whole = position // shards.index.layout.rows_per_shard
    first = whole * shards.index.layout.rows_per_shard
    tokens = np.sum([shard.tokens_by_source for shard in table[:whole]], axis=0, dtype=np.int64)
    offsets, lengths = shards.document_lengths(first, position)
    of_rows = np.add.reduceat(lengths, offsets[:-1], dtype=np.int64) if position > first else np.empty(0, np.int64)
    in_shard = np.zeros(len(order.streams), np.int64)
    np.add.at(in_shard, order.turns(first, position), of_rows)
    rows = order.at(position) - order.begin
    names = [stream.name for stream in order.streams]
    counts = zip(names, rows.tolist(), (tokens + in_shard).tolist(), strict=True)
    return {name: Seen(count, amount) for name, count, amount in counts}
