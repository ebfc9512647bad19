"""Exact deduplication: a document is dropped where an earlier one has the same content hash.

Earlier means: in a snapshot that was registered earlier, then earlier in its own (file name, record).
Guarantees that of every set of equal documents exactly the earliest is kept, and that each dropped document
names the one it equals. Near-duplicates are another module's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from llm_assets.contract.stage import Disposition, StageOutput
from llm_assets.kernels.arrow import byte_lengths
from llm_assets.stages.dedup.columns import VERDICT_SCHEMA
from llm_assets.stages.dedup.parameters import DedupParameters, stage_version
from llm_assets.store.ledger import Count, Ledger

DUPLICATE = "exact_duplicate"
HASH_BYTES = 16


@dataclass(frozen=True)
class ContentIndex:
    """The earliest document of every content hash, in all snapshots that count as earlier and in this one.

    `frame` has the columns hash (binary), doc_id (binary), snapshot (str), place (int, within its snapshot).
    """

    frame: pl.DataFrame

    @staticmethod
    def build(earlier: Iterable[tuple[str, pa.Table]]) -> ContentIndex:
        """From `(snapshot, table of content_hash and doc_id in document order)`, oldest snapshot first."""
        frames = [
            pl.DataFrame(
                {
                    "hash": binary_series(table["content_hash"]),
                    "doc_id": binary_series(table["doc_id"]),
                    "snapshot": pl.repeat(snapshot, table.num_rows, eager=True, dtype=pl.String),
                    "place": np.arange(table.num_rows, dtype=np.int64),
                }
            )
            for snapshot, table in earlier
        ]
        return ContentIndex(pl.concat(frames).unique("hash", keep="first", maintain_order=True))


def binary_series(column: pa.ChunkedArray) -> pl.Series:
    """A fixed-size binary column for Polars, which has variable-size ones only."""
    return pl.Series(values=pl.from_arrow(column.cast(pa.large_binary())), dtype=pl.Binary)


def hash_frame(batches: Iterable[pa.RecordBatch]) -> pl.DataFrame:
    """The column `content_hash` of batches."""
    hashes = pa.chunked_array([batch["content_hash"] for batch in batches], pa.binary(HASH_BYTES))
    return pl.DataFrame({"content_hash": binary_series(hashes)})


@dataclass(frozen=True)
class DedupPart:
    """One part of the cleaned snapshot: its batches, the snapshot's name, the place of its first document."""

    batches: Iterable[pa.RecordBatch]
    snapshot: str
    first_place: int


@dataclass(frozen=True)
class DedupStage:
    """Verdicts against an index that includes the snapshot itself."""

    parameters: DedupParameters
    index: ContentIndex

    @property
    def code_version(self) -> str:
        """See `Stage`."""
        return stage_version(self.parameters)

    @property
    def schema(self) -> pa.Schema:
        """See `Stage`."""
        return VERDICT_SCHEMA

    def process(self, part: DedupPart) -> Iterator[StageOutput]:
        """One verdict per document. Batches need the columns content_hash, doc_id, file, record and text."""
        place = part.first_place
        for batch in part.batches:
            yield self._judge(batch, part.snapshot, place)
            place += batch.num_rows

    def _judge(self, batch: pa.RecordBatch, snapshot: str, place: int) -> StageOutput:
        hashes = pl.DataFrame({"hash": binary_series(pa.chunked_array([batch["content_hash"]]))})
        partner = hashes.join(self.index.frame, on="hash", how="left", maintain_order="left")
        first = (partner["snapshot"] == snapshot).to_numpy() & (
            partner["place"].to_numpy() == np.arange(place, place + batch.num_rows)
        )
        return StageOutput({Disposition.VERDICT: _verdicts(batch, partner, first)}, _ledger(batch, first))


def _verdicts(batch: pa.RecordBatch, partner: pl.DataFrame, kept: npt.NDArray[np.bool_]) -> pa.RecordBatch:
    dropped = pl.Series("dropped", ~kept)
    partners = partner.select(
        pl.when(dropped).then("doc_id").alias("partner_doc_id"),
        pl.when(dropped).then("snapshot").alias("partner_snapshot"),
        pl.when(dropped).then(1.0).alias("similarity"),
    )
    columns = [batch["doc_id"], batch["file"], batch["record"], pa.array(kept)]
    for name in partners.columns:
        values = partners[name].to_arrow(compat_level=pl.CompatLevel.oldest())
        if name == "partner_doc_id":
            values = values.cast(pa.binary()).cast(pa.binary(16))
        columns.append(values.cast(VERDICT_SCHEMA.field(name).type))
    return pa.record_batch(columns, schema=VERDICT_SCHEMA)


def _ledger(batch: pa.RecordBatch, kept: npt.NDArray[np.bool_]) -> Ledger:
    sizes = byte_lengths(batch["text"])
    kept_count = Count(int(kept.sum()), int(sizes[kept].sum()))
    dropped_count = Count(int((~kept).sum()), int(sizes[~kept].sum()))
    return Ledger(
        incoming=Count(batch.num_rows, int(sizes.sum())),
        kept=kept_count,
        output=kept_count,
        dropped={DUPLICATE: dropped_count} if dropped_count.documents else {},
    )
