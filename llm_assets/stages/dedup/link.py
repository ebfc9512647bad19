"""The link from `cleaned` to `<source>/deduped`: a verdict for every document, and the documents that stay.

A snapshot is judged against the cleaned snapshots of its source that were registered earlier. When one of those
changes or comes late, this one's inputs have changed: it is stale and is judged again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import polars as pl
import pyarrow as pa

from llm_assets.contract.documents import DocumentLink
from llm_assets.contract.link import (
    LEDGER_BALANCES,
    Check,
    Description,
    MissingInputError,
    Outcome,
    Work,
    balance_outcome,
    rate_outcome,
)
from llm_assets.contract.stage import Disposition
from llm_assets.stages.clean.link import CleanedLink
from llm_assets.stages.clean.stage import CLEANED_SCHEMA
from llm_assets.stages.dedup.exact import (
    VERDICT_SCHEMA,
    ContentIndex,
    DedupParameters,
    DedupPart,
    DedupStage,
    binary_series,
)
from llm_assets.stages.dedup.report import duplicate_samples
from llm_assets.store.documents import CommittedSnapshot, SnapshotFiles, StagedSnapshot
from llm_assets.store.layout import Store
from llm_assets.store.manifest import Input, Manifest, partition_name, split_name

NO_COPIES_KEPT = Check("no_copies_kept", "No two kept documents of this and all earlier snapshots have the same text.")
EARLIER_COMPLETE = Check(
    "earlier_snapshots_complete",
    "Every snapshot that was registered earlier was there to be compared with.",
    blocking=False,
)
DUPLICATE_RATE = Check("duplicate_rate", "The share of copies is at most the source's limit.", blocking=False)


@dataclass(frozen=True)
class DedupedDocuments:
    """A deduplicated snapshot read as documents: the cleaned ones that its verdicts keep."""

    cleaned: CommittedSnapshot
    verdicts: SnapshotFiles

    @property
    def parts(self) -> list[int]:
        """Part numbers, those of the cleaned snapshot."""
        return self.cleaned.parts

    def batches(self, columns: Sequence[str], part: int | None = None) -> Iterator[pa.RecordBatch]:
        """Kept documents in order, of one part or of all."""
        for number in self.parts if part is None else [part]:
            kept = self.verdicts.table(Disposition.VERDICT, ["kept"], number)["kept"].combine_chunks()
            place = 0
            for batch in self.cleaned.batches(Disposition.KEPT, columns, number):
                yield batch.filter(kept.slice(place, batch.num_rows))
                place += batch.num_rows


def joined(store: Store, source: str, manifest: Manifest, verdicts: SnapshotFiles) -> DedupedDocuments:
    """Verdicts joined with the very generation of cleaned documents that they judged. Raises MissingInputError."""
    name = partition_name(f"{source}/cleaned", manifest.partition)
    judged = manifest.inputs[name]
    cleaned = store.documents(source, "cleaned", CLEANED_SCHEMA).snapshot(manifest.partition, judged.generation)
    if cleaned is None:
        raise MissingInputError(f"the documents of {name} that were judged are gone: materialize {manifest.name} again")
    return DedupedDocuments(cleaned, verdicts)


def open_deduped(
    store: Store, source: str, snapshot: str, generation: str | None = None
) -> tuple[Manifest, DedupedDocuments] | None:
    """A committed deduplicated snapshot as documents, or an earlier generation of it; None where there is none."""
    verdicts = store.documents(source, "deduped", VERDICT_SCHEMA).snapshot(snapshot, generation)
    return None if verdicts is None else (verdicts.manifest, joined(store, source, verdicts.manifest, verdicts))


@dataclass(frozen=True)
class DedupedLink(DocumentLink):
    """Deduplicates one snapshot of a source."""

    source: str
    cleaned: CleanedLink
    parameters: DedupParameters
    max_duplicate_rate: float = 0.5

    stage_name = "deduped"
    schema = VERDICT_SCHEMA
    digested: ClassVar = {Disposition.VERDICT: None}

    @property
    def code_version(self) -> str:
        """See `Link`."""
        return DedupStage.version(self.parameters)

    @property
    def checks(self) -> Sequence[Check]:
        """See `Link`."""
        return LEDGER_BALANCES, NO_COPIES_KEPT, EARLIER_COMPLETE, DUPLICATE_RATE

    def _judged_against(self, store: Store, partition: str) -> list[CommittedSnapshot]:
        """Committed cleaned snapshots registered earlier, oldest first, then the partition's own."""
        table = self.cleaned.table(store)
        live = table.snapshots()
        if partition not in live:
            raise MissingInputError(f"{self.cleaned.asset}[{partition}] is not there: materialize it first")
        earlier = [name for name in store.order(self.source).earlier(partition) if name in live]
        snapshots = [table.snapshot(name, live[name]) for name in [*earlier, partition]]
        return [snapshot for snapshot in snapshots if snapshot is not None]

    def inputs(self, store: Store, partition: str) -> dict[str, Input]:
        """The cleaned snapshot, and the earlier ones it is compared with."""
        return _as_inputs(self._judged_against(store, partition))

    def documents(self, store: Store, manifest: Manifest, verdicts: SnapshotFiles) -> DedupedDocuments:
        """Verdicts joined with the documents that they judged."""
        return joined(store, self.source, manifest, verdicts)

    def make(self, work: Work) -> StagedSnapshot:
        """See `Link`."""
        snapshots = self._judged_against(work.store, work.partition)
        cleaned, inputs = snapshots[-1], _as_inputs(snapshots)
        stage = DedupStage(self.parameters, ContentIndex.build(_hashes(snapshots)))
        return self.stage_parts(work, stage, _parts(cleaned, work.partition), inputs)

    def check(self, staged: StagedSnapshot, store: Store) -> Iterator[Outcome]:
        """See `Link`."""
        manifest = staged.manifest
        ledger, partition = manifest.ledger, manifest.partition
        kept_rows = sum(batch["kept"].true_count for batch in staged.batches(Disposition.VERDICT, ["kept"]))
        verdicts = staged.count(Disposition.VERDICT)
        cleaned = self.documents(store, manifest, staged).cleaned
        yield balance_outcome(
            ledger,
            cleaned.manifest.ledger.output,
            {"verdicts": (verdicts, ledger.incoming.documents), "kept": (kept_rows, ledger.kept.documents)},
        )
        yield self._copies(staged, store)
        missing = [
            name
            for name in store.order(self.source).earlier(partition)
            if partition_name(self.cleaned.asset, name) not in manifest.inputs
        ]
        yield Outcome(
            EARLIER_COMPLETE.name,
            not missing,
            f"not compared with {', '.join(missing)}, which came earlier but is not cleaned: when it is, run this again"
            if missing
            else "compared with every earlier snapshot",
        )
        dropped = ledger.dropped_total.documents
        yield rate_outcome(
            DUPLICATE_RATE.name, dropped, ledger.incoming.documents, self.max_duplicate_rate, "are copies"
        )

    def _copies(self, staged: StagedSnapshot, store: Store) -> Outcome:
        """Recount by brute force: the hashes of what is kept, against those of all documents it was judged against."""
        documents = self.documents(store, staged.manifest, staged)
        verdicts, judged = staged.count(Disposition.VERDICT), documents.cleaned.count(Disposition.KEPT)
        if verdicts != judged:
            return Outcome(NO_COPIES_KEPT.name, False, f"{verdicts:,} verdicts cannot be of {judged:,} documents")
        own = _hash_frame(documents.batches(["content_hash"]))
        distinct = own.unique()
        for snapshot in self._earlier(staged.manifest, store):
            earlier = _hash_frame(snapshot.batches(Disposition.KEPT, ["content_hash"]))
            distinct = distinct.join(earlier, on="content_hash", how="anti")
        copies = own.height - distinct.height
        return Outcome(
            NO_COPIES_KEPT.name,
            copies == 0,
            f"{copies:,} of {own.height:,} kept documents equal another one",
            {"kept": own.height, "copies": copies},
        )

    def _earlier(self, manifest: Manifest, store: Store) -> Iterator[CommittedSnapshot]:
        """The earlier snapshots that the manifest names, in the generations that were judged against."""
        for name in manifest.inputs:
            partition = split_name(name)[1]
            if partition != manifest.partition:
                yield self._judged(store, manifest, partition)

    def _judged(self, store: Store, manifest: Manifest, partition: str) -> CommittedSnapshot:
        """A cleaned snapshot that the manifest names, in the generation that was judged. Raises MissingInputError."""
        name = partition_name(self.cleaned.asset, partition)
        snapshot = self.cleaned.table(store).snapshot(partition, manifest.inputs[name].generation)
        if snapshot is None:
            raise MissingInputError(f"the documents of {name} that were judged against are gone")
        return snapshot

    def describe(self, staged: StagedSnapshot, store: Store) -> Description:
        """See `Link`."""
        manifest, ledger = staged.manifest, staged.manifest.ledger
        samples = duplicate_samples(staged, manifest.partition, partial(self._judged, store, manifest))
        return Description(
            rows=ledger.kept.documents,
            bytes=staged.size,
            columns=VERDICT_SCHEMA,
            worked_bytes=ledger.incoming.bytes,
            values={
                "judged_against": ", ".join(sorted(manifest.inputs)),
                "kept_fraction": ledger.share(ledger.kept),
                "duplicate_rate": ledger.share(ledger.dropped_total),
            },
            samples={"duplicates": samples},
        )


def _hash_frame(batches: Iterable[pa.RecordBatch]) -> pl.DataFrame:
    table = pa.Table.from_batches(batches, pa.schema([CLEANED_SCHEMA.field("content_hash")]))
    return pl.DataFrame({"content_hash": binary_series(table["content_hash"])})


def _as_inputs(snapshots: Sequence[CommittedSnapshot]) -> dict[str, Input]:
    return {snapshot.manifest.name: snapshot.manifest.as_input for snapshot in snapshots}


def _hashes(snapshots: Sequence[CommittedSnapshot]) -> Iterator[tuple[str, pa.Table]]:
    for snapshot in snapshots:
        yield snapshot.manifest.partition, snapshot.table(Disposition.KEPT, ["content_hash", "doc_id"])


def _parts(cleaned: CommittedSnapshot, name: str) -> list[DedupPart]:
    parts: list[DedupPart] = []
    place = 0
    for part in cleaned.parts:
        batches = cleaned.batches(Disposition.KEPT, ["doc_id", "file", "record", "content_hash", "text"], part)
        parts.append(DedupPart(batches, name, place))
        place += cleaned.count(Disposition.KEPT, part)
    return parts
