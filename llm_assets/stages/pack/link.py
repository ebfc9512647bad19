"""The link from `tokenized` to `<source>/packed`: rows of one length, each traceable to its documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import numpy as np
import pyarrow as pa
from typing_extensions import override

from llm_assets.contract.documents import as_inputs
from llm_assets.contract.histograms import Histogram
from llm_assets.contract.link import (
    LEDGER_BALANCES,
    Check,
    Description,
    Link,
    Outcome,
    Shown,
    Work,
    balance_outcome,
)
from llm_assets.contract.progress import Progress
from llm_assets.contract.samples import concatenated
from llm_assets.contract.shard_partition import (
    StagedShards,
    all_lengths,
    begin_shards,
    open_shards,
    row_schema,
    shards_manifest,
    shown_rows,
    write_provenance,
)
from llm_assets.contract.site import Site, SourceStage
from llm_assets.contract.stage import code_version
from llm_assets.stages.pack import VERSION
from llm_assets.stages.pack.columns import ORIGIN_SCHEMA, PROVENANCE_SCHEMA
from llm_assets.stages.pack.plan import PackParameters, RowPlan, plan_rows
from llm_assets.stages.pack.rows import DocumentTokens, document_lengths, gather_rows
from llm_assets.stages.pack.statistics import PackStatistics
from llm_assets.stages.tokenize.encode import FrozenTokenizer
from llm_assets.stages.tokenize.link import TokenizedLink
from llm_assets.store.folder import Folder
from llm_assets.store.layout import Store
from llm_assets.store.ledger import Count, Ledger
from llm_assets.store.manifest import Input, Manifest
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets.store.shards.writer import ShardSetWriter, StagedShardSet
from llm_assets.store.staging import Attempt
from llm_assets.store.token_set import TokenSet

ROWS_PER_WRITE = 4096
MIN_FILL = 0.9

NOTHING_LOST = Check(
    "nothing_split_or_lost",
    "Every token of every document is in the rows once, where provenance says; none is split that fits in a row.",
)
ROWS_FULL = Check("rows_full", f"At least {MIN_FILL:.0%} of the room in the rows holds tokens.", blocking=False)


@dataclass(frozen=True)
class PackedLink(Link[StagedShards], SourceStage):
    """Packs one snapshot of a source."""

    source: str
    tokenized: TokenizedLink
    parameters: PackParameters

    stage_name = "packed"
    summary = "Rows of one length, each traceable to its documents."
    kinds = frozenset({"numpy", "arrow"})

    @classmethod
    @override
    def placed(cls, site: Site) -> Self:
        return cls(site.source, cast(TokenizedLink, site.upstream), site.parameters)

    @property
    @override
    def upstream(self) -> Sequence[Link[Any]]:
        return (self.tokenized,)

    @property
    @override
    def asset(self) -> str:
        return f"{self.source}/{self.stage_name}"

    @property
    @override
    def code_version(self) -> str:
        return code_version(VERSION, self.parameters)

    @property
    @override
    def checks(self) -> Sequence[Check]:
        return LEDGER_BALANCES, NOTHING_LOST, ROWS_FULL

    def inputs(self, store: Store, partition: str) -> dict[str, Input]:
        """The token set."""
        return as_inputs([self.tokenized.opened(store, partition).manifest])

    def set_folder(self, store: Store, partition: str) -> Folder:
        """The folder of the shard set."""
        return store.packed(self.source, partition)

    @override
    def uri(self, store: Store, partition: str) -> str:
        return self.set_folder(store, partition).uri

    @override
    def open(self, store: Store, partition: str) -> ShardSet | None:
        return open_shards(self.set_folder(store, partition))

    @override
    def show(self, store: Store, partition: str, *, lost: bool = False) -> Iterator[Shown]:
        return shown_rows(self, self.open(store, partition), partition, self.tokenized.tokenizer.load(store))

    @override
    def committed(self, store: Store, partition: str) -> Manifest | None:
        return shards_manifest(self.set_folder(store, partition))

    @override
    def make(self, work: Work) -> StagedShards:
        tokens = self.tokenized.opened(work.store, work.partition)
        frozen = self.tokenized.tokenizer
        stored, tokenizer = frozen.stored(work.store), frozen.load(work.store)
        documents = _Documents.of(tokens)
        plan = plan_rows(documents.lengths, self.parameters.sequence_length, self.parameters.seed)
        with begin_shards(self.set_folder(work.store, work.partition)) as attempt:
            progress = Progress(work.say, -(-plan.rows // ROWS_PER_WRITE))
            shards = self._write(attempt, plan, documents, tokenizer, stored.fingerprint, progress)
            write_provenance(attempt, PROVENANCE_SCHEMA, _provenance(plan, documents.origin))
            manifest = Manifest(
                self.asset,
                work.partition,
                attempt.generation,
                self.code_version,
                as_inputs([tokens.manifest]),
                shards.digest,
                _ledger(tokens, plan, shards),
                {"statistics": PackStatistics.count(plan, documents.lengths).as_dict()},
            )
            return StagedShards(shards, attempt, manifest)

    def _write(
        self,
        attempt: Attempt,
        plan: RowPlan,
        documents: _Documents,
        tokenizer: FrozenTokenizer,
        fingerprint: str,
        progress: Progress,
    ) -> StagedShardSet:
        pad_id = tokenizer.end_of_document_id
        with ShardSetWriter(
            attempt.folder,
            attempt.generation,
            sequence_length=self.parameters.sequence_length,
            vocabulary_size=tokenizer.vocabulary_size,
            pad_id=pad_id,
            tokenizer=fingerprint,
            sources=(self.source,),
        ) as writer:
            for first in range(0, plan.rows, ROWS_PER_WRITE):
                last = min(first + ROWS_PER_WRITE, plan.rows)
                rows = gather_rows(plan, documents.parts, first, last, pad_id)
                writer.append(rows, *document_lengths(plan, first, last))
                progress.count(rows.nbytes)
                progress.end_part()
            return writer.finish()

    @override
    def check(self, staged: StagedShards, store: Store) -> Iterator[Outcome]:
        from llm_assets.stages.pack.recount import Recount

        manifest, ledger = staged.manifest, staged.manifest.ledger
        tokens = sum(int(lengths.lengths.sum()) for lengths in all_lengths(staged.shards))
        written = {"tokens": (tokens, ledger.kept.tokens), "rows": (staged.shards.rows, ledger.output.rows)}
        upstream = self.tokenized.opened(store, manifest.partition)
        yield balance_outcome(ledger, upstream.manifest.ledger.output, written)
        documents = _Documents.of(upstream)
        recount = Recount.of(staged.shards, documents.parts, documents.origin)
        lost = recount.lost
        message = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in lost.items())
        yield Outcome(NOTHING_LOST.name, not any(lost.values()), message, lost)
        fill = recount.statistics.fill
        yield Outcome(
            ROWS_FULL.name,
            fill >= MIN_FILL or not staged.shards.rows,
            f"{fill:.2%} of the rows is tokens",
            {"fill": fill},
        )

    @override
    def describe(self, staged: StagedShards, store: Store) -> Description:
        documents_per_row = [np.diff(lengths.offsets) for lengths in all_lengths(staged.shards)]
        return Description(
            rows=staged.shards.rows,
            bytes=staged.size,
            columns=row_schema(staged.shards),
            worked_bytes=staged.size,
            values={"tokens": staged.shards.index.tokens, **staged.manifest.details["statistics"]},
            histograms={"Documents in a row": Histogram.of(concatenated(documents_per_row))},
        )


@dataclass(frozen=True)
class _Documents:
    """The documents of a token set for packing: mapped ids, lengths, and the origin of each."""

    parts: list[DocumentTokens]
    lengths: np.ndarray
    origin: pa.Table

    @staticmethod
    def of(tokens: TokenSet) -> _Documents:
        batches = [batch for batch in tokens.batches() if batch.num_rows]
        parts = [_part(batch["input_ids"]) for batch in batches]
        origin = pa.Table.from_batches([batch.select(ORIGIN_SCHEMA.names) for batch in batches], ORIGIN_SCHEMA)
        return _Documents(parts, concatenated([part.lengths for part in parts]), origin)


def _part(column: pa.LargeListArray) -> DocumentTokens:
    return DocumentTokens(column.values.to_numpy(), column.offsets.to_numpy())


def _ledger(tokens: TokenSet, plan: RowPlan, shards: StagedShardSet) -> Ledger:
    """The ledger: the input as the token set counts it, the kept documents as the plan does, the output as written."""
    incoming = Count(tokens.documents, tokens.manifest.ledger.output.bytes, tokens.tokens)
    placed = int(plan.piece_length.sum(dtype=np.int64))
    item_bytes = np.dtype(tokens.dtype).itemsize
    kept = Count(len(np.unique(plan.piece_document)), placed * item_bytes, placed)
    return Ledger(
        incoming=incoming,
        kept=kept,
        output=Count(
            kept.documents, shards.rows * shards.sequence_length * item_bytes, shards.index.tokens, shards.rows
        ),
    )


def _provenance(plan: RowPlan, origin: pa.Table) -> Iterator[pa.RecordBatch]:
    """A record for every piece, in the order of the rows."""
    for first in range(0, plan.rows, ROWS_PER_WRITE):
        bounds = plan.row_offsets[first : first + ROWS_PER_WRITE + 1]
        pieces = slice(int(bounds[0]), int(bounds[-1]))
        counts = np.diff(bounds)
        length = plan.piece_length[pieces]
        ends = np.concatenate(([0], np.cumsum(length, dtype=np.int64)))
        start = ends[:-1] - np.repeat(ends[bounds[:-1] - bounds[0]], counts)
        document = origin.take(pa.array(plan.piece_document[pieces])).combine_chunks()
        columns = {
            "row": pa.array(np.repeat(np.arange(first, first + len(counts)), counts)),
            "start": pa.array(start.astype(np.int32)),
            "length": pa.array(length),
            "document_start": pa.array(plan.piece_start[pieces]),
            **{name: document[name].combine_chunks() for name in document.schema.names},
        }
        yield pa.record_batch([columns[name] for name in PROVENANCE_SCHEMA.names], schema=PROVENANCE_SCHEMA)
