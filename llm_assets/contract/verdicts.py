"""Links that store a verdict for every document and no text: they read as the documents that their verdicts keep.

Guarantees that verdicts are joined with the very generation of documents that they judged. What a verdict follows from
is the business of each link.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from typing_extensions import override

from llm_assets.contract.documents import DocumentLink, Documents
from llm_assets.contract.link import Link, MissingInputError, Shown
from llm_assets.contract.stage import Disposition
from llm_assets.store.documents import SnapshotFiles
from llm_assets.store.layout import Store
from llm_assets.store.manifest import Manifest, partition_name


@dataclass(frozen=True)
class JudgedDocuments(Documents):
    """The documents that verdicts keep. `verdicts` has a row for each of `judged`, part by part and in order."""

    manifest: Manifest
    judged: Documents
    verdicts: SnapshotFiles

    @property
    @override
    def manifests(self) -> Sequence[Manifest]:
        return self.manifest, *self.judged.manifests

    @property
    @override
    def parts(self) -> list[int]:
        return self.judged.parts

    @override
    def batches(self, columns: Sequence[str], part: int | None = None) -> Iterator[pa.RecordBatch]:
        for number in self.parts if part is None else [part]:
            for batch, verdicts in self.pairs(columns, number, ["kept"]):
                yield batch.filter(verdicts["kept"])

    def pairs(
        self, columns: Sequence[str], part: int, verdict_columns: Sequence[str]
    ) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
        """Batches of the documents of one part, each with the batch of verdicts on it."""
        verdicts = self.verdicts.table(Disposition.VERDICT, verdict_columns, part).combine_chunks()
        place = 0
        for batch in self.judged.batches(columns, part):
            rows = verdicts.slice(place, batch.num_rows).to_batches()
            yield batch, rows[0] if rows else pa.RecordBatch.from_pylist([], verdicts.schema)
            place += batch.num_rows


class VerdictLink(DocumentLink):
    """Stores verdicts on `documents`: a table with the column `kept` (bool), a row for each document, in order."""

    documents: DocumentLink
    digested: ClassVar[Mapping[Disposition, Sequence[str] | None]] = {Disposition.VERDICT: None}

    @property
    @override
    def upstream(self) -> Sequence[Link[Any]]:
        return (self.documents,)

    @override
    def documents_of(self, store: Store, partition: str, generation: str | None = None) -> JudgedDocuments:
        verdicts = self.opened(store, partition, generation)
        return self.joined(store, verdicts.manifest, verdicts)

    @override
    def open(self, store: Store, partition: str) -> JudgedDocuments | None:
        verdicts = self.table(store).snapshot(partition)
        return None if verdicts is None else self.joined(store, verdicts.manifest, verdicts)

    def joined(self, store: Store, manifest: Manifest, verdicts: SnapshotFiles) -> JudgedDocuments:
        """Verdicts joined with the documents that they judged. Raises MissingInputError where those are gone."""
        name = partition_name(self.documents.asset, manifest.partition)
        try:
            judged = self.documents.documents_of(store, manifest.partition, manifest.inputs[name].generation)
        except MissingInputError as error:
            raise MissingInputError(
                f"the documents of {name} that were judged are gone: materialize {manifest.name} again"
            ) from error
        return JudgedDocuments(manifest, judged, verdicts)

    @override
    def show(self, store: Store, partition: str, *, lost: bool = False) -> Iterator[Shown]:
        if not lost:
            yield from super().show(store, partition)
            return
        documents = self.documents_of(store, partition)
        for part in documents.parts:
            for batch, verdicts in documents.pairs(["file", "record", "text"], part, self.schema.names):
                dropped = pc.call_function("invert", [verdicts["kept"]])
                for row, verdict in zip(
                    batch.filter(dropped).to_pylist(), verdicts.filter(dropped).to_pylist(), strict=True
                ):
                    notes = [f"{name}: {_plain(verdict[name])}" for name in verdict if name not in _KNOWN]
                    yield Shown(f"{row['file']}:{row['record']}", (row["text"],), notes)


_KNOWN = frozenset({"doc_id", "file", "record", "kept"})


def _plain(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
