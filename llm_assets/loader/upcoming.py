"""What a rank will read from a position on, for sets that fetch it ahead (`ShardSet.announce`).

Guarantees the rows in the order in which `preparation` reads them, found by arithmetic and only as far as somebody
looks: telling costs nothing per batch. What is fetched when is the business of the set.
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
    """The rows of the set that a rank reads from a position on, as ranges (first, last) in turn.

    A range lies in one shard. It starts with a row that this rank reads and ends where the shard or the block of the
    order ends: which rows between are those of other ranks is not told apart.
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
    """The first row of the stream from `row` on that is this rank's; None where there is none."""
    while row < micro_batching.schedule.end:
        step = micro_batching.schedule.step_at(row)
        rows = micro_batching.rows_at(step)
        share = rows // micro_batching.world_size
        inside = (row - step.first) % rows
        if inside < (rank + 1) * share:
            return row + max(0, rank * share - inside)
        row += rows - inside
    return None
