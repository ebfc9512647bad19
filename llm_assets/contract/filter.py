"""A stage of a project's own: documents in, the same documents out but for those it gives a reason to drop.

Guarantees for whoever writes one that every document is accounted for, that its own errors drop no document silently
and say whose code failed, and that nothing before or after it needs to know of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from typing_extensions import override

from llm_assets.contract.documents import DocumentLink, as_inputs
from llm_assets.contract.link import (
    LEDGER_BALANCES,
    Check,
    Description,
    Outcome,
    Work,
    balance_outcome,
    rate_outcome,
)
from llm_assets.contract.own_stage import OwnStage
from llm_assets.contract.plugin import PluginFailedError
from llm_assets.contract.samples import sample_rows
from llm_assets.contract.stage import Disposition, Stage, StageOutput, code_version
from llm_assets.contract.verdicts import VerdictLink
from llm_assets.kernels.arrow import byte_lengths
from llm_assets.store.documents import StagedSnapshot
from llm_assets.store.layout import Store
from llm_assets.store.ledger import Count, Counts, Ledger
from llm_assets.store.manifest import Input

FILTER_SCHEMA = pa.schema(
    [
        pa.field("doc_id", pa.binary(16)),
        pa.field("file", pa.large_string()),
        pa.field("record", pa.int64()),
        pa.field("kept", pa.bool_()),
        pa.field("reason", pa.large_string()),
        pa.field("error", pa.large_string()),
    ]
)
"""A row for each document: whether it goes on, the reason it was dropped for, and the error where judging it failed."""

PROCESSING_ERRORS = Check("processing_errors", "Every document could be judged.")
_IDENTITY = ["doc_id", "file", "record", "text"]


class DocumentFilter(OwnStage, ABC):
    """Drops documents for reasons of its own. `reads` are the columns that it looks at."""

    reads: ClassVar[Sequence[str]] = ("text",)

    @abstractmethod
    def reasons(self, documents: pa.RecordBatch) -> pa.Array:
        """A reason to drop each document, null for those that stay: string [documents].

        `documents` has the columns `reads`.
        """

    @override
    def link(self, source: str, documents: DocumentLink) -> FilterLink:
        return FilterLink(source, documents, self)


@dataclass(frozen=True)
class FilterLink(VerdictLink):
    """Stores the verdicts of a filter on one snapshot of a source."""

    source: str
    documents: DocumentLink
    filter: DocumentFilter

    summary = "Documents that a filter of the project's own lets pass."
    schema = FILTER_SCHEMA

    @property
    @override
    def stage(self) -> str:
        return self.filter.stage_name

    @property
    @override
    def code_version(self) -> str:
        return code_version(self.filter.version, self.filter)

    @property
    @override
    def checks(self) -> Sequence[Check]:
        return LEDGER_BALANCES, PROCESSING_ERRORS

    @override
    def inputs(self, store: Store, partition: str) -> dict[str, Input]:
        return as_inputs(self.documents.documents_of(store, partition).manifests)

    @override
    def make(self, work: Work) -> StagedSnapshot:
        documents = self.documents.documents_of(work.store, work.partition)
        columns = [*dict.fromkeys([*_IDENTITY, *self.filter.reads])]
        parts = [documents.batches(columns, part) for part in documents.parts]
        return self.stage_parts(work, _Judging(self.filter, self.code_version), parts, as_inputs(documents.manifests))

    @override
    def check(self, staged: StagedSnapshot, store: Store) -> Iterator[Outcome]:
        ledger, documents = staged.manifest.ledger, self.joined(store, staged.manifest, staged)
        kept = sum(batch["kept"].true_count for batch in staged.batches(Disposition.VERDICT, ["kept"]))
        written = {
            "verdicts": (staged.count(Disposition.VERDICT), ledger.incoming.documents),
            "kept": (kept, ledger.kept.documents),
        }
        yield balance_outcome(ledger, documents.judged.manifests[0].ledger.output, written)
        failed = ledger.quarantined_total.documents
        yield rate_outcome(
            PROCESSING_ERRORS.name,
            failed,
            ledger.incoming.documents,
            0.0,
            f"of the documents could not be judged by {self.filter.path()}",
        )

    @override
    def describe(self, staged: StagedSnapshot, store: Store) -> Description:
        dropped = pa.Table.from_batches(staged.batches(Disposition.VERDICT), FILTER_SCHEMA)
        return Description(
            rows=staged.manifest.ledger.kept.documents,
            bytes=staged.size,
            columns=FILTER_SCHEMA,
            samples={"dropped": sample_rows(dropped.filter(dropped["reason"].is_valid()))},
        )


@dataclass(frozen=True)
class _Judging(Stage[Iterator[pa.RecordBatch]]):
    """The stage that asks a filter for its reasons, document by document where a batch fails."""

    filter: DocumentFilter
    version: str

    @property
    @override
    def code_version(self) -> str:
        return self.version

    @property
    @override
    def schema(self) -> pa.Schema:
        return FILTER_SCHEMA

    @override
    def process(self, part: Iterator[pa.RecordBatch]) -> Iterator[StageOutput]:
        for batch in part:
            reasons, errors = self._judged(batch)
            kept = np.array([reason is None and error is None for reason, error in zip(reasons, errors, strict=True)])
            columns = [batch["doc_id"], batch["file"], batch["record"], pa.array(kept, pa.bool_())]
            columns += [pa.array(values, pa.large_string()) for values in (reasons, errors)]
            verdicts = pa.record_batch(columns, schema=FILTER_SCHEMA)
            yield StageOutput({Disposition.VERDICT: verdicts}, _ledger(batch, reasons, errors))

    def _judged(self, batch: pa.RecordBatch) -> tuple[list[str | None], list[str | None]]:
        """The reason and the error of each document."""
        try:
            return self._asked(batch.select(list(self.filter.reads))), [None] * batch.num_rows
        except PluginFailedError as error:
            if batch.num_rows == 1:
                return [None], [str(error)]
        single = [self._judged(batch.slice(place, 1)) for place in range(batch.num_rows)]
        return [reasons[0] for reasons, _ in single], [errors[0] for _, errors in single]

    def _asked(self, documents: pa.RecordBatch) -> list[str | None]:
        with self.filter.called():
            reasons = self.filter.reasons(documents)
            if len(reasons) != documents.num_rows:
                raise ValueError(f"{len(reasons)} reasons for {documents.num_rows} documents")
            return reasons.cast(pa.large_string()).to_pylist()


def _ledger(batch: pa.RecordBatch, reasons: list[str | None], errors: list[str | None]) -> Ledger:
    sizes = byte_lengths(batch["text"])
    kept = np.array([reason is None and error is None for reason, error in zip(reasons, errors, strict=True)], np.bool_)
    kept_count = Count(int(kept.sum()), int(sizes[kept].sum()))
    return Ledger(
        incoming=Count(batch.num_rows, int(sizes.sum())),
        kept=kept_count,
        output=kept_count,
        dropped=_by_name(reasons, sizes),
        quarantined=_by_name(["processing_error" if error else None for error in errors], sizes),
    )


def _by_name(names: list[str | None], sizes: np.ndarray) -> Counts:
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        if name is not None:
            places.setdefault(name, []).append(place)
    return {name: Count(len(rows), int(sizes[rows].sum())) for name, rows in places.items()}
