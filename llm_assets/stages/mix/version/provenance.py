"""The provenance of a mixture's rows, written beside them from the order of the plan.

`shuffle` places the rows by the inverse of that order, so that the checks can compare the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from llm_assets.contract.shard_partition import PROVENANCE
from llm_assets.kernels.arrow import column
from llm_assets.stages.mix.plan import MixturePlan
from llm_assets.stages.mix.version.pool import Pool
from llm_assets.store.shards.shard_set import ShardSet

ROWS_PER_BATCH = 1 << 16

MIX_PROVENANCE_SCHEMA = pa.schema(
    [
        column("row", pa.int64(), "row of the mixture"),
        column("source", pa.large_string(), "source that the row is of"),
        column("snapshot", pa.large_string(), "snapshot of the source"),
        column("packed_row", pa.int64(), "row of the packed snapshot that this one is a copy of"),
    ]
)
"""Columns of the provenance of a mixture, a record for each row."""


def provenance(plan: MixturePlan, pool: Pool) -> Iterator[pa.RecordBatch]:
    """A record for each row of the mixture, in order."""
    for first in range(0, plan.total_rows, ROWS_PER_BATCH):
        source, row = plan.rows_at(first, min(first + ROWS_PER_BATCH, plan.total_rows))
        yield provenance_batch(plan.names, pool, first, source, row)


def provenance_batch(
    names: Sequence[str], pool: Pool, first: int, source: npt.NDArray[np.int16], row: npt.NDArray[np.int64]
) -> pa.RecordBatch:
    """Records of rows from `first` on: `source` [n] are indices into `names`, `row` [n] rows of these sources."""
    snapshots = sorted({packed.snapshot for packed in pool.sets})
    numbers = {snapshot: number for number, snapshot in enumerate(snapshots)}
    snapshot = np.empty(len(row), np.int32)
    packed_row = np.empty(len(row), np.int64)
    for number in np.unique(source).tolist():
        mine = np.flatnonzero(source == number)
        for packed, here, within in pool.locate(str(names[number]), row[mine]):
            snapshot[mine[here]] = numbers[packed.snapshot]
            packed_row[mine[here]] = within
    columns = [
        pa.array(np.arange(first, first + len(row))),
        pa.array(names, pa.large_string()).take(pa.array(source)),
        pa.array(snapshots, pa.large_string()).take(pa.array(snapshot)),
        pa.array(packed_row),
    ]
    return pa.record_batch(columns, schema=MIX_PROVENANCE_SCHEMA)


def read_origins(shards: ShardSet) -> Iterator[pa.RecordBatch]:
    """Read the provenance of a set in batches, with sources and snapshots as dictionary arrays."""
    with shards.folder.open(f"{shards.index.generation}/{PROVENANCE}") as file:
        parquet = pq.ParquetFile(pa.PythonFile(file, mode="r"), read_dictionary=["source", "snapshot"])
        yield from parquet.iter_batches(ROWS_PER_BATCH)
