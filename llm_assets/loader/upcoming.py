"""The rows that a rank will read from a position on, for sets that prefetch them (`ShardSet.announce`).

Guarantees the order in which `preparation` reads them. They are computed lazily, only as far as the set asks, so they
cost nothing per batch. When to fetch is decided by the set.
"""

from __future__ import annotations

from collections.abc import Iterator

from llm_assets.loader.batch_schedule import MicroBatching
from llm_assets.loader.epoch_order import EpochOrder
from llm_assets.loader.ranks import Ranks
from llm_assets.store.shards.shard_set import ShardSet


def upcoming(
    shards: ShardSet, order: EpochOrder, length: int, micro_batching: MicroBatching, ranks: Ranks, position: int
) -> Iterator[tuple[int, int]]:
    """The rows of the set that a rank reads from a position on, as ranges (first, last), in order.

    A range lies in one shard. It starts at a row that this rank reads and ends at the end of the shard or of the
    epoch's block; rows of other ranks in between are included.
    """
    parts = shards.sequence_length // length
    per_shard = shards.index.layout.rows_per_shard
    row = _own_row(micro_batching, ranks.rank, position)
    while row is not None:
        first, last = next(order.ranges(row // parts, -(-micro_batching.schedule.end // parts)))
        last = min(last, (first // per_shard + 1) * per_shard)
        yield first, last
        row = _own_row(micro_batching, ranks.rank, (row // parts + last - first) * parts)


def _own_row(micro_batching: MicroBatching, rank: int, row: int) -> int | None:
    """The first row of the stream at or after `row` that belongs to the rank; None at the end of the stream."""
    while row < micro_batching.schedule.end:
        step = micro_batching.schedule.step_at(row)
        rows = micro_batching.rows_at(step)
        share = rows // micro_batching.world_size
        inside = (row - step.first) % rows
        if inside < (rank + 1) * share:
            return row + max(0, rank * share - inside)
        row += rows - inside
    return None
