"""The link from `raw` to `<source>/cleaned`: documents that passed, and the others with every rule they broke."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from llm_assets.chain.documents import stage_documents
from llm_assets.chain.link import (
    LEDGER_BALANCES,
    Check,
    Description,
    Link,
    MissingInputError,
    Outcome,
    Work,
    balance_outcome,
    rate_outcome,
)
from llm_assets.chain.raw import RawLink
from llm_assets.chain.samples import concatenated, sample_rows
from llm_assets.stages.clean.stage import CLEANED_SCHEMA, CleanParameters, CleanStage
from llm_assets.stages.stage import Disposition
from llm_assets.store.digest import combined_digest, content_digest
from llm_assets.store.documents import DocumentTable, Snapshot, SnapshotFiles, StagedSnapshot
from llm_assets.store.layout import Store
from llm_assets.store.ledger import Ledger
from llm_assets.store.manifest import Input, Manifest, partition_name
from llm_assets.store.staging import Attempt

DOCUMENTS_KEPT = Check("documents_kept", "At least one document passed the rules.")
DROP_RATE = Check("drop_rate", "The share of dropped documents is at most the source's limit.", blocking=False)
_DIGESTED = [name for name in CLEANED_SCHEMA.names if name != "text"]
"""All columns but the text, which `content_hash` stands for."""
_READ = ["doc_id", "id", "text", "metadata", "file", "record", "byte_offset"]


@dataclass(frozen=True)
class CleanedLink(Link[StagedSnapshot]):
    """Cleans one snapshot of a source."""

    source: str
    raw: RawLink
    parameters: CleanParameters
    max_drop_rate: float = 0.5

    @property
    def asset(self) -> str:
        """See `Link`."""
        return f"{self.source}/cleaned"

    @property
    def code_version(self) -> str:
        """See `Link`."""
        return CleanStage(self.parameters).code_version

    @property
    def checks(self) -> Sequence[Check]:
        """See `Link`."""
        return LEDGER_BALANCES, DOCUMENTS_KEPT, DROP_RATE

    def table(self, store: Store) -> DocumentTable:
        """The Delta table of the stage."""
        return store.documents(self.source, "cleaned", CLEANED_SCHEMA)

    def _upstream(self, store: Store, partition: str, generation: str | None = None) -> Snapshot:
        snapshot = self.raw.table(store).snapshot(partition, generation)
        if snapshot is None:
            raise MissingInputError(f"{self.raw.asset}[{partition}] is not there: materialize it first")
        return snapshot

    def inputs(self, store: Store, partition: str) -> dict[str, Input]:
        """The raw snapshot."""
        raw = self._upstream(store, partition).manifest
        return {raw.name: raw.as_input}

    def committed(self, store: Store, partition: str) -> Manifest | None:
        """See `Link`."""
        snapshot = self.table(store).snapshot(partition)
        return snapshot.manifest if snapshot else None

    def make(self, work: Work) -> StagedSnapshot:
        """See `Link`."""
        raw = self._upstream(work.store, work.partition)
        stage = CleanStage(self.parameters)
        inputs = {raw.manifest.name: raw.manifest.as_input}

        def manifest(attempt: Attempt, files: SnapshotFiles, ledger: Ledger) -> Manifest:
            digest = combined_digest(
                [
                    content_digest(files.batches(Disposition.KEPT, _DIGESTED)),
                    content_digest(files.batches(Disposition.REJECTED, _DIGESTED)),
                ]
            )
            return Manifest(self.asset, work.partition, attempt.generation, stage.code_version, inputs, digest, ledger)

        return stage_documents(
            work.engine,
            stage,
            [raw.batches(Disposition.KEPT, _READ, part) for part in raw.parts],
            self.table(work.store),
            work.partition,
            Disposition.KEPT,
            manifest,
        )

    def check(self, staged: StagedSnapshot, store: Store) -> Iterator[Outcome]:
        """See `Link`."""
        manifest, ledger = staged.manifest, staged.manifest.ledger
        dropped = ledger.dropped_total.documents
        written = {
            "kept documents": (staged.count(Disposition.KEPT), ledger.kept.documents),
            "rejected documents": (staged.count(Disposition.REJECTED), dropped),
        }
        read = manifest.inputs[partition_name(self.raw.asset, manifest.partition)].generation
        raw = self._upstream(store, manifest.partition, read).manifest
        yield balance_outcome(ledger, raw.ledger.output, written)
        kept = ledger.kept.documents
        yield Outcome(DOCUMENTS_KEPT.name, kept > 0, f"{kept:,} documents passed")
        yield rate_outcome(
            DROP_RATE.name,
            dropped,
            ledger.incoming.documents,
            self.max_drop_rate,
            "of the documents were dropped",
        )

    def describe(self, staged: StagedSnapshot) -> Description:
        """See `Link`."""
        words = [
            batch["statistics"].field("words").to_numpy(zero_copy_only=False)
            for batch in staged.batches(Disposition.KEPT, ["statistics"])
        ]
        return Description(
            rows=staged.manifest.ledger.kept.documents,
            bytes=staged.size,
            columns=CLEANED_SCHEMA,
            histograms={"Length of the kept documents, words": concatenated(words)},
            samples={
                "kept": sample_rows(_first(staged, Disposition.KEPT, ["file", "record", "text"])),
                "dropped": sample_rows(_first(staged, Disposition.REJECTED, ["file", "record", "reasons", "text"])),
            },
        )


def _first(files: SnapshotFiles, disposition: Disposition, columns: list[str]) -> pa.RecordBatch | None:
    return next(files.batches(disposition, columns), None)
