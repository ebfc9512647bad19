"""The link to `<source>/deduped`: a verdict for every document, and the documents that stay.

A snapshot is judged against the cleaned snapshots of its source that were registered earlier. When one of those
changes or comes late, this one's inputs have changed: it is stale and is judged again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Self, cast

import pyarrow as pa
from pydantic import Field
from typing_extensions import override

from llm_assets.contract.documents import DocumentLink, as_inputs
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
from llm_assets.contract.site import Limits, Site, SourceStage
from llm_assets.contract.stage import Disposition
from llm_assets.contract.verdicts import VerdictLink
from llm_assets.stages.dedup.columns import VERDICT_SCHEMA
from llm_assets.stages.dedup.parameters import DedupParameters, stage_version
from llm_assets.stages.dedup.report import duplicate_samples
from llm_assets.store.documents import CommittedSnapshot, StagedSnapshot
from llm_assets.store.layout import Store
from llm_assets.store.manifest import Input, Manifest, partition_name, split_name

if TYPE_CHECKING:
    from llm_assets.stages.dedup.exact import DedupPart

NO_COPIES_KEPT = Check("no_copies_kept", "No two kept documents of this and all earlier snapshots have the same text.")
EARLIER_COMPLETE = Check(
    "earlier_snapshots_complete",
    "Every snapshot that was registered earlier was there to be compared with.",
    blocking=False,
)
DUPLICATE_RATE = Check("duplicate_rate", "The share of copies is at most the source's limit.", blocking=False)


class DedupLimits(Limits):
    """Rates are shares of documents."""

    max_duplicate_rate: float = Field(default=0.5, ge=0, le=1, description="Over it, `deduped` warns.")


@dataclass(frozen=True)
class DedupedLink(VerdictLink, SourceStage):
    """Deduplicates one snapshot of a source: of `documents`, whose table has the column `content_hash`."""

    source: str
    documents: DocumentLink
    parameters: DedupParameters
    limits: DedupLimits = field(default_factory=DedupLimits)

    stage_name = "deduped"
    summary = "Documents that are no copy of an earlier one."
    schema = VERDICT_SCHEMA
    kinds = frozenset({"polars", "deltalake"})

    @classmethod
    @override
    def placed(cls, site: Site) -> Self:
        documents = cast(DocumentLink, site.upstream)
        return cls(site.source, documents, site.parameters, DedupLimits.model_validate(site.limits))

    @property
    @override
    def code_version(self) -> str:
        return stage_version(self.parameters)

    @property
    @override
    def checks(self) -> Sequence[Check]:
        return LEDGER_BALANCES, NO_COPIES_KEPT, EARLIER_COMPLETE, DUPLICATE_RATE

    def _judged_against(self, store: Store, partition: str) -> list[CommittedSnapshot]:
        """Committed cleaned snapshots registered earlier, oldest first, then the partition's own."""
        table = self.documents.table(store)
        live = table.snapshots()
        if partition not in live:
            raise MissingInputError.of(partition_name(self.documents.asset, partition))
        earlier = [name for name in store.order(self.source).earlier(partition) if name in live]
        snapshots = [table.snapshot(name, live[name]) for name in [*earlier, partition]]
        return [snapshot for snapshot in snapshots if snapshot is not None]

    def inputs(self, store: Store, partition: str) -> dict[str, Input]:
        """The cleaned snapshot, and the earlier ones it is compared with."""
        return as_inputs(snapshot.manifest for snapshot in self._judged_against(store, partition))

    @override
    def make(self, work: Work) -> StagedSnapshot:
        from llm_assets.stages.dedup.exact import ContentIndex, DedupStage

        snapshots = self._judged_against(work.store, work.partition)
        judged, inputs = snapshots[-1], as_inputs(snapshot.manifest for snapshot in snapshots)
        stage = DedupStage(self.parameters, ContentIndex.build(_hashes(snapshots)))
        return self.stage_parts(work, stage, _parts(judged, work.partition), inputs)

    @override
    def check(self, staged: StagedSnapshot, store: Store) -> Iterator[Outcome]:
        manifest = staged.manifest
        ledger, partition = manifest.ledger, manifest.partition
        kept_rows = sum(batch["kept"].true_count for batch in staged.batches(Disposition.VERDICT, ["kept"]))
        verdicts = staged.count(Disposition.VERDICT)
        judged = self.joined(store, manifest, staged).judged
        yield balance_outcome(
            ledger,
            judged.manifests[0].ledger.output,
            {"verdicts": (verdicts, ledger.incoming.documents), "kept": (kept_rows, ledger.kept.documents)},
        )
        yield self._copies(staged, store)
        missing = [
            name
            for name in store.order(self.source).earlier(partition)
            if partition_name(self.documents.asset, name) not in manifest.inputs
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
            DUPLICATE_RATE.name, dropped, ledger.incoming.documents, self.limits.max_duplicate_rate, "are copies"
        )

    def _copies(self, staged: StagedSnapshot, store: Store) -> Outcome:
        """Recount by brute force: the hashes of what is kept, against those of all documents it was judged against."""
        from llm_assets.stages.dedup.exact import hash_frame

        documents = self.joined(store, staged.manifest, staged)
        verdicts = staged.count(Disposition.VERDICT)
        judged = sum(batch.num_rows for batch in documents.judged.batches(["content_hash"]))
        if verdicts != judged:
            return Outcome(NO_COPIES_KEPT.name, False, f"{verdicts:,} verdicts cannot be of {judged:,} documents")
        own = hash_frame(documents.batches(["content_hash"]))
        distinct = own.unique()
        for snapshot in self._earlier(staged.manifest, store):
            earlier = hash_frame(snapshot.batches(Disposition.KEPT, ["content_hash"]))
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
        name = partition_name(self.documents.asset, partition)
        snapshot = self.documents.table(store).snapshot(partition, manifest.inputs[name].generation)
        if snapshot is None:
            raise MissingInputError(f"the documents of {name} that were judged against are gone")
        return snapshot

    @override
    def describe(self, staged: StagedSnapshot, store: Store) -> Description:
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


def _hashes(snapshots: Sequence[CommittedSnapshot]) -> Iterator[tuple[str, pa.Table]]:
    for snapshot in snapshots:
        yield snapshot.manifest.partition, snapshot.table(Disposition.KEPT, ["content_hash", "doc_id"])


def _parts(judged: CommittedSnapshot, name: str) -> list[DedupPart]:
    from llm_assets.stages.dedup.exact import DedupPart

    parts: list[DedupPart] = []
    place = 0
    for part in judged.parts:
        batches = judged.batches(Disposition.KEPT, ["doc_id", "file", "record", "content_hash", "text"], part)
        parts.append(DedupPart(batches, name, place))
        place += judged.count(Disposition.KEPT, part)
    return parts
