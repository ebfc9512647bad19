"""Tables of a version of a mixture for its page: shares by phase and source, and totals by source.

All numbers are counted in the rows that were written; `checks` compares them with the recipe.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from llm_assets.stages.mix.recipe import MixParameters
from llm_assets.stages.mix.training_order import TrainingOrder
from llm_assets.stages.mix.version.counts import Seen, seen_at
from llm_assets.stages.mix.version.pool import packed_inputs
from llm_assets.store.manifest import Manifest
from llm_assets.store.shards.shard_set import ShardSet

Table = Sequence[Mapping[str, str | int]]


def mixture_tables(shards: ShardSet, manifest: Manifest, held_out: ShardSet | None) -> Mapping[str, Table]:
    """`shares` by phase and source, and `sources`. Reads the lengths of documents of a shard for each phase."""
    plan = manifest.details["plan"]
    order = TrainingOrder.from_dict(plan["seed"], plan)
    ends = seen_at(shards, order, [*(phase.first for phase in order.phases), order.total_rows])
    return {
        "shares": list(_shares(order, ends)),
        "sources": list(_sources(order, ends[-1], manifest, held_out)),
    }


def _shares(order: TrainingOrder, ends: Sequence[Mapping[str, Seen]]) -> Iterator[Mapping[str, str | int]]:
    """A line for each phase and each source with a share of it."""
    for phase, (before, after) in zip(order.phases, pairwise(ends), strict=True):
        for number, (stream, share) in enumerate(zip(order.streams, phase.shares, strict=True)):
            if not share:
                continue
            rows = after[stream.name].rows - before[stream.name].rows
            begin = int(phase.begin[number])
            times = stream.repetitions(begin + rows) - stream.repetitions(begin)
            yield {
                "phase": phase.name,
                "from_row": phase.first,
                "source": stream.name,
                "share_asked": f"{float(share):.4%}",
                "share_given": f"{rows / phase.rows:.4%}",
                "rows": rows,
                "tokens": after[stream.name].tokens - before[stream.name].tokens,
                "repetitions": f"{float(times):.4f}",
            }


def _sources(
    order: TrainingOrder, seen: Mapping[str, Seen], manifest: Manifest, held_out: ShardSet | None
) -> Iterator[Mapping[str, str | int]]:
    parameters = MixParameters.model_validate(manifest.details["parameters"])
    for stream, begin in zip(order.streams, order.begin.tolist(), strict=True):
        rows = seen[stream.name].rows
        snapshots = [snapshot for _, source, snapshot in packed_inputs(manifest.inputs) if source == stream.name]
        yield {
            "source": stream.name,
            "packed": stream.rows,
            "held_out": held_out.index.rows_by_source[stream.name] if held_out else 0,
            "used_before": begin,
            "rows": rows,
            "tokens": seen[stream.name].tokens,
            "used_in_all": f"{float(stream.repetitions(begin + rows)):.4f}",
            "at_most": f"{float(parameters.repetitions_of(stream.name)):g}",
            "snapshots": ", ".join(snapshots),
        }
