"""The ledger of a version of a mixture, in rows: every row of its snapshots, as often as it was offered.

A source is offered in laps of all its rows: as many laps as the version, with those that it continues, enters, and at
least one; a held-out row is offered once in all. An offered row is in the version (`kept`), was used by an earlier
version (`used_before`), is held out (`held_out`), or exceeds the source's share (`over_share`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction

import numpy as np

from llm_assets.contract.link import MissingInputError
from llm_assets.contract.shard_partition import shards_manifest
from llm_assets.stages.mix.plan import MixturePlan, SourcePlan
from llm_assets.stages.mix.version.pool import Pool, packed_inputs
from llm_assets.store.layout import Store
from llm_assets.store.ledger import Count, Ledger
from llm_assets.store.manifest import Manifest
from llm_assets.store.shards.shard_set import ShardSet

OVER_SHARE = "over_share"
USED_BEFORE = "used_before"
HELD_OUT = "held_out"
_STEP = 1 << 20


def laps_offered(plan: MixturePlan, pool: Pool) -> dict[str, int]:
    """Times that the rows of each packed snapshot are offered: once per lap, from the lap in which it was added."""
    offered: dict[str, int] = {}
    for source in plan.sources:
        for packed in pool.sets_of(source.name):
            came = source.stream.lap_of(source.stream.era_of(packed.first).start) if packed.shards.rows else 0
            offered[packed.name] = max(1, _laps(source) - came)
    return offered


def _laps(source: SourcePlan) -> int:
    return max(source.stream.lap_of(source.begin) + 1, math.ceil(source.stream.repetitions(source.end)))


def mixture_ledger(plan: MixturePlan, pool: Pool, shards: ShardSet, held_out: ShardSet | None) -> Ledger:
    """The ledger: offered rows counted in the snapshots, kept and held-out ones in the sets, others in the streams."""
    row_bytes, offered = pool.row_bytes, laps_offered(plan, pool)
    incoming, dropped = Count(), dict[str, Count]()
    for source in plan.sources:
        held = _of_source(held_out, source.name)
        for packed in pool.sets_of(source.name):
            rows = packed.shards.rows
            amount = Count(rows=rows, bytes=rows * row_bytes, tokens=packed.shards.index.tokens)
            incoming += amount * offered[packed.name]
        repeated = offered[pool.sets_of(source.name)[0].name] - 1 if pool.sets_of(source.name) else 0
        incoming += held * -repeated
        tokens = pool.tokens_of_rows(source.name)
        end = source.stream.position_after(Fraction(_laps(source)))
        ranges = {OVER_SHARE: (source.end, end), USED_BEFORE: (0, source.begin)}
        counts = {reason: _count(source, tokens, first, last, row_bytes) for reason, (first, last) in ranges.items()}
        for reason, count in {HELD_OUT: held, **counts}.items():
            if count.rows:
                dropped[f"{reason}:{source.name}"] = count
    kept = Count(rows=shards.rows, bytes=shards.rows * row_bytes, tokens=shards.index.tokens)
    return Ledger(incoming=incoming, kept=kept, output=kept, dropped=dropped)


def _count(source: SourcePlan, tokens: np.ndarray, first: int, last: int, row_bytes: int) -> Count:
    """The rows between two positions of a source's stream."""
    found = sum(int(tokens[source.stream.rows_at(*part)].sum(dtype=np.int64)) for part in _parts(first, last))
    return Count(rows=last - first, bytes=(last - first) * row_bytes, tokens=found)


def _parts(first: int, last: int) -> Iterator[tuple[int, int]]:
    return ((at, min(at + _STEP, last)) for at in range(first, last, _STEP))


def _of_source(held_out: ShardSet | None, source: str) -> Count:
    if held_out is None:
        return Count()
    rows = held_out.index.rows_by_source[source]
    return Count(
        rows=rows, bytes=rows * held_out.index.layout.row_stride, tokens=held_out.index.tokens_by_source[source]
    )


def packed_rows(manifest: Manifest, store: Store, held_out: ShardSet | None) -> Count:
    """The output of the packed snapshots by their own ledgers, times the number of times each was offered.

    Raises MissingInputError where one of them is gone.
    """
    total = Count()
    offered: Mapping[str, int] = manifest.details["offered"]
    repeated: dict[str, int] = {}
    for name, source, snapshot in packed_inputs(manifest.inputs):
        packed = shards_manifest(store.packed(source, snapshot))
        if packed is None:
            raise MissingInputError(f"{name} is not there any more")
        output = packed.ledger.output
        total += Count(rows=output.rows, bytes=output.bytes, tokens=output.tokens) * offered[name]
        repeated.setdefault(source, offered[name] - 1)
    return sum((_of_source(held_out, source) * -times for source, times in repeated.items()), total)
