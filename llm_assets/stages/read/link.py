"""The link from landed files to `<source>/raw`: every record read, or in quarantine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field
from typing_extensions import override

from llm_assets.contract.documents import DocumentLink
from llm_assets.contract.histograms import Histogram
from llm_assets.contract.link import (
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
from llm_assets.contract.samples import concatenated, sample_rows
from llm_assets.contract.site import Limits, Site, SourceStage
from llm_assets.contract.snapshots import Snapshots
from llm_assets.contract.stage import Disposition
from llm_assets.kernels.arrow import byte_lengths
from llm_assets.stages.read.files import InputFile, group_files
from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.stages.read.rows import RAW_SCHEMA
from llm_assets.stages.read.version import stage_version
from llm_assets.store.documents import StagedSnapshot
from llm_assets.store.folder import Folder, ListedFile
from llm_assets.store.layout import SUCCESS, Store
from llm_assets.store.manifest import Input

RECORDS_READ = Check("records_read", "At least one record of the snapshot could be read.")
QUARANTINE_RATE = Check("quarantine_rate", "The share of unreadable records is at most the source's limit.")
_DIGESTED = [name for name in RAW_SCHEMA.names if name != "text"]
"""All columns but the text, which `doc_id` stands for."""


class ReadLimits(Limits):
    """Rates are shares of records."""

    max_quarantine_rate: float = Field(default=0.05, ge=0, le=1, description="Over it, `raw` is not committed.")


@dataclass(frozen=True)
class RawLink(DocumentLink, SourceStage):
    """Reads one landed snapshot of a source.

    `landing` is the folder above the source's own, if not the store's; with `landing_links` links may lead out of it.
    """

    source: str
    parameters: ReadParameters
    landing: str | None = None
    limits: ReadLimits = field(default_factory=ReadLimits)
    landing_links: bool = False

    stage_name = "raw"
    summary = "Every record that landed, read or in quarantine."
    lost = Disposition.QUARANTINED
    schema = RAW_SCHEMA
    digested: ClassVar = {Disposition.KEPT: _DIGESTED, Disposition.QUARANTINED: _DIGESTED}

    @classmethod
    @override
    def placed(cls, site: Site) -> Self:
        limits = ReadLimits.model_validate(site.limits)
        return cls(site.source, site.parameters, site.landing, limits, site.landing_links)

    @property
    @override
    def upstream(self) -> Sequence[Link[Any]]:
        return ()

    @property
    @override
    def partitions(self) -> Snapshots:
        return Snapshots(self.source, self.landing)

    @property
    @override
    def code_version(self) -> str:
        return stage_version(self.parameters)

    @property
    @override
    def checks(self) -> Sequence[Check]:
        return LEDGER_BALANCES, RECORDS_READ, QUARANTINE_RATE

    def inputs(self, store: Store, partition: str) -> dict[str, Input]:
        """The landed files by name, size and time of change."""
        return self._inputs(partition, self._landed(store, partition))

    def _inputs(self, partition: str, landed: Sequence[ListedFile]) -> dict[str, Input]:
        listing = [(file.name, file.size, file.version) for file in landed]
        digest = hashlib.blake2b(json.dumps(listing).encode(), digest_size=16).hexdigest()
        return {f"landing/{self.source}[{partition}]": Input(digest, "")}

    def _landed(self, store: Store, partition: str) -> list[ListedFile]:
        """The files of a snapshot. Raises MissingInputError where it is not complete, ValueError as `landed_files`."""
        folder = self.partitions.snapshot_folder(store, partition)
        listing = folder.listing()
        if all(file.name != SUCCESS for file in listing):
            raise MissingInputError(
                f"{folder.uri} is not complete: put the files there, and an empty file {SUCCESS} when all are written"
            )
        return landed_files(listing, folder, self.partitions.landing_folder(store), self.landing_links)

    @override
    def make(self, work: Work) -> StagedSnapshot:
        from llm_assets.stages.read.stage import ReadStage

        landed = self._landed(work.store, work.partition)
        work.store.order(self.source).register(work.partition)
        files = [InputFile(file.name, file.size) for file in landed]
        parts = group_files(self.partitions.snapshot_folder(work.store, work.partition), files)
        return self.stage_parts(work, ReadStage(self.parameters), parts, self._inputs(work.partition, landed))

    @override
    def check(self, staged: StagedSnapshot, store: Store) -> Iterator[Outcome]:
        ledger = staged.manifest.ledger
        quarantined = sum(
            int(batch["records"].to_numpy().sum()) for batch in staged.batches(Disposition.QUARANTINED, ["records"])
        )
        unreadable = ledger.quarantined_total.documents
        written = {
            "documents": (staged.count(Disposition.KEPT), ledger.kept.documents),
            "quarantined records": (quarantined, unreadable),
        }
        yield balance_outcome(ledger, None, written)
        kept = ledger.kept.documents
        yield Outcome(RECORDS_READ.name, kept > 0, f"{kept:,} records were read")
        yield rate_outcome(
            QUARANTINE_RATE.name,
            unreadable,
            ledger.incoming.documents,
            self.limits.max_quarantine_rate,
            "of the records could not be read",
        )

    @override
    def describe(self, staged: StagedSnapshot, store: Store) -> Description:
        lengths = [byte_lengths(batch["text"]) for batch in staged.batches(Disposition.KEPT, ["text"])]
        kept = next(staged.batches(Disposition.KEPT, ["file", "record", "text"]), None)
        lost = next(
            staged.batches(Disposition.QUARANTINED, ["file", "record", "byte_offset", "error", "error_detail"]),
            None,
        )
        ledger = staged.manifest.ledger
        return Description(
            rows=ledger.kept.documents,
            bytes=staged.size,
            columns=RAW_SCHEMA,
            worked_bytes=ledger.incoming.bytes,
            values={
                "kept_fraction": ledger.share(ledger.kept),
                "quarantine_rate": ledger.share(ledger.quarantined_total),
            },
            histograms={"Length of the documents, bytes": Histogram.of(concatenated(lengths))},
            samples={"kept": sample_rows(kept), "quarantined": sample_rows(lost)},
        )


def landed_files(listing: Iterable[ListedFile], folder: Folder, landing: Folder, links: bool) -> list[ListedFile]:
    """Those of a snapshot's folder to be read: not those where any part of the name starts with `_` or `.`.

    Links to files are files: to those in `landing`, and with `links` to any. Raises ValueError for what is neither file
    nor folder, and for a link to no file or out of `landing` unasked: to skip it would lose data unseen.
    """
    landed = [file for file in listing if not any(step.startswith(("_", ".")) for step in file.name.split("/"))]
    for file in landed:
        if file.target is None and not file.is_file:
            raise ValueError(f"{file.name!r} in {folder.uri} is neither a file nor a folder")
        if file.target and not file.is_file:
            raise ValueError(f"{file.name!r} in {folder.uri} is a link to {file.target}, where no file is")
        if file.target and not links and not Path(file.target).is_relative_to(Path(landing.path).resolve()):
            why = f"a link to {file.target}, which is not in {landing.uri}: set `landing_links: true`, or copy the file"
            raise ValueError(f"{file.name!r} in {folder.uri} is {why}")
    return landed
