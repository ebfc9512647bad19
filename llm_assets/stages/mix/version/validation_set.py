"""The validation set of a version: a shard set of the held-out rows of its sources, inside the version's generation.

Guarantees that it is committed and deleted with the version, in the same step, and that the set opened for a committed
version is the one whose digest its manifest names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa

from llm_assets.contract.shard_partition import open_shards, write_provenance
from llm_assets.stages.mix.plan import MixturePlan
from llm_assets.stages.mix.version.pool import Pool
from llm_assets.stages.mix.version.provenance import MIX_PROVENANCE_SCHEMA, provenance_batch
from llm_assets.store.folder import Folder
from llm_assets.store.layout import Store
from llm_assets.store.manifest import Input, Manifest
from llm_assets.store.shards.shard_set import ShardCorruptError, ShardMissingError, ShardSet
from llm_assets.store.shards.writer import ShardSetWriter
from llm_assets.store.staging import Attempt

HELD_OUT = "held_out"
ROWS_PER_WRITE = 8192
_GENERATION = "rows"


def open_validation_set(store: Store, mixture: str, version: str) -> ShardSet | None:
    """The validation set of a committed version (`committed_validation_set`); None where there is no such version."""
    shards = open_shards(store.version(mixture, version))
    return committed_validation_set(shards) if shards else None


def committed_validation_set(shards: ShardSet) -> ShardSet | None:
    """The validation set that the manifest of a committed version names; None where nothing is held out.

    Its rows are grouped by source, see `rows_by_source`. Raises ShardMissingError where it is gone, and
    ShardCorruptError where another set is in its place.
    """
    named = _named(Manifest.from_dict(shards.index.manifest))
    if named is None:
        return None
    held_out, where = validation_set_of(shards), _folder(shards).uri
    if held_out is None:
        raise ShardMissingError(
            where, "the version names a validation set, but it does not exist: make the version again"
        )
    if held_out.digest != named["digest"]:
        raise ShardCorruptError(where, f"has the digest {held_out.digest}, but the version names {named['digest']}")
    return held_out


def validation_set_input(version: Manifest) -> dict[str, Input]:
    """The validation set of a version as an input of another partition, by name; empty where there is none."""
    named = _named(version)
    return {f"{version.name}/{HELD_OUT}": Input(named["digest"], version.generation)} if named else {}


def _named(version: Manifest) -> Mapping[str, Any] | None:
    """The `validation_set_details` of a version; None where no rows are held out, or its format had none yet."""
    return version.details.get("held_out")


def rows_by_source(held_out: ShardSet) -> dict[str, range]:
    """The range of rows of each source in a validation set."""
    counts = held_out.index.rows_by_source
    ends = accumulate(counts.values())
    return {source: range(end - count, end) for (source, count), end in zip(counts.items(), ends, strict=True)}


def validation_set_of(shards: ShardSet) -> ShardSet | None:
    """The validation set in the shard set of a version, staged or committed; None where there is none."""
    return open_shards(_folder(shards))


def _folder(shards: ShardSet) -> Folder:
    return shards.folder / f"{shards.index.generation}/{HELD_OUT}"


def write_validation_set(attempt: Attempt, plan: MixturePlan, pool: Pool) -> ShardSet | None:
    """Write the held-out rows of all sources beside the shards of an attempt; None where there are none."""
    if not any(source.stream.held_out for source in plan.sources):
        return None
    folder = attempt.folder / f"{attempt.generation}/{HELD_OUT}"
    index = pool.index
    with ShardSetWriter(
        folder,
        _GENERATION,
        sequence_length=index.sequence_length,
        vocabulary_size=index.vocabulary_size,
        pad_id=index.pad_id,
        tokenizer=index.tokenizer,
        sources=plan.names,
    ) as writer:
        for number, rows in _rows(plan):
            ids, lengths = pool.take(plan.names[number], rows)
            writer.append(ids, lengths.offsets, lengths.lengths, np.full(len(rows), number))
        staged = writer.finish()
    write_provenance(
        replace(attempt, folder=folder, generation=_GENERATION), MIX_PROVENANCE_SCHEMA, _origins(plan, pool)
    )
    return staged.commit({})


def validation_set_details(held_out: ShardSet | None) -> dict[str, Any] | None:
    """The description of a validation set for the version's manifest; None where there is none."""
    if held_out is None:
        return None
    index = held_out.index
    return {
        "digest": held_out.digest,
        "rows": index.rows,
        "tokens": index.tokens,
        "rows_by_source": dict(index.rows_by_source),
        "tokens_by_source": dict(index.tokens_by_source),
    }


def _rows(plan: MixturePlan) -> Iterator[tuple[int, np.ndarray]]:
    for number, source in enumerate(plan.sources):
        for first in range(0, source.stream.held_out, ROWS_PER_WRITE):
            last = min(first + ROWS_PER_WRITE, source.stream.held_out)
            yield number, source.stream.held_out_rows(first, last)


def _origins(plan: MixturePlan, pool: Pool) -> Iterator[pa.RecordBatch]:
    first = 0
    for number, rows in _rows(plan):
        yield provenance_batch(plan.names, pool, first, np.full(len(rows), number, np.int16), rows)
        first += len(rows)
