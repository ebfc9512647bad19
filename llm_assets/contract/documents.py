"""Links whose partitions are documents: a Delta table, and a stage mapped over parts into a staged snapshot of it.

Guarantees that the digest of a snapshot follows from its rows in document order, and that nothing is left behind
where a part fails. What a stage makes of a document, and how that is checked, is the business of each link.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

import pyarrow as pa
from typing_extensions import override

from llm_assets.contract.link import Link, MissingInputError, Shown, Work
from llm_assets.contract.progress import Progress
from llm_assets.contract.stage import Disposition, Stage
from llm_assets.store.digest import combined_digest, content_digest
from llm_assets.store.documents import CommittedSnapshot, DocumentFile, DocumentTable, SnapshotFiles, StagedSnapshot
from llm_assets.store.layout import Store
from llm_assets.store.ledger import Ledger
from llm_assets.store.manifest import Input, Manifest, partition_name
from llm_assets.store.staging import Attempt

PartT = TypeVar("PartT")


class Documents(Protocol):
    """The documents of one committed partition, in parts and in order."""

    @property
    def manifests(self) -> Sequence[Manifest]:
        """The partition's own, then those of other partitions that hold what is read of it."""
        ...

    @property
    def parts(self) -> list[int]:
        """Part numbers, ascending."""
        ...

    def batches(self, columns: Sequence[str], part: int | None = None) -> Iterator[pa.RecordBatch]:
        """Some columns of the documents, of one part or of all."""
        ...


@dataclass(frozen=True)
class KeptDocuments(Documents):
    """The kept rows of a snapshot, read as documents."""

    snapshot: CommittedSnapshot

    @property
    @override
    def manifests(self) -> Sequence[Manifest]:
        return (self.snapshot.manifest,)

    @property
    @override
    def parts(self) -> list[int]:
        return self.snapshot.parts

    @override
    def batches(self, columns: Sequence[str], part: int | None = None) -> Iterator[pa.RecordBatch]:
        return self.snapshot.batches(Disposition.KEPT, columns, part)


def as_inputs(manifests: Iterable[Manifest]) -> dict[str, Input]:
    """The form in which a manifest records the partitions it was made from."""
    return {manifest.name: manifest.as_input for manifest in manifests}


class DocumentLink(Link[StagedSnapshot]):
    """A link whose partitions are snapshots of the Delta table of one stage of a source.

    `digested` are the dispositions and the columns of each (None: all) that make the digest; the first of them gets a
    file in every part, rows or not. `lost` is the
    disposition of the rows that went no further.
    """

    source: str
    schema: ClassVar[pa.Schema]
    digested: ClassVar[Mapping[Disposition, Sequence[str] | None]]
    stage_name: ClassVar[str]
    lost: ClassVar[Disposition] = Disposition.REJECTED
    kinds: ClassVar[frozenset[str]] = frozenset({"parquet", "deltalake"})

    @property
    @override
    def asset(self) -> str:
        return f"{self.source}/{self.stage}"

    @property
    def stage(self) -> str:
        """The last part of the asset's key."""
        return self.stage_name

    def table(self, store: Store) -> DocumentTable:
        """The Delta table of the stage."""
        return store.documents(self.source, self.stage, self.schema)

    @override
    def uri(self, store: Store, partition: str) -> str:
        return self.table(store).folder.uri

    @override
    def committed(self, store: Store, partition: str) -> Manifest | None:
        snapshot = self.table(store).snapshot(partition)
        return snapshot.manifest if snapshot else None

    @override
    def open(self, store: Store, partition: str) -> object | None:
        return self.table(store).snapshot(partition)

    def opened(self, store: Store, partition: str, generation: str | None = None) -> CommittedSnapshot:
        """The committed snapshot, or an earlier generation of it. Raises MissingInputError."""
        snapshot = self.table(store).snapshot(partition, generation)
        if snapshot is None:
            raise MissingInputError.of(partition_name(self.asset, partition))
        return snapshot

    def documents_of(self, store: Store, partition: str, generation: str | None = None) -> Documents:
        """The documents that go on to the next stage. Raises MissingInputError."""
        return KeptDocuments(self.opened(store, partition, generation))

    @override
    def show(self, store: Store, partition: str, *, lost: bool = False) -> Iterator[Shown]:
        batches = (
            self.opened(store, partition).batches(self.lost)
            if lost
            else self.documents_of(store, partition).batches(["file", "record", "text"])
        )
        for batch in batches:
            yield from map(_shown, batch.to_pylist())

    def stage_parts(
        self, work: Work, stage: Stage[PartT], parts: Sequence[PartT], inputs: Mapping[str, Input]
    ) -> StagedSnapshot:
        """Run the stage over all parts and stage the result."""
        table = self.table(work.store)
        always = next(iter(self.digested))
        with table.begin() as attempt:
            progress = Progress(work.say, len(parts))
            made = work.engine.map(
                lambda numbered: _make_part(stage, numbered, table, attempt, work.partition, always, progress),
                enumerate(parts),
            )
            if not made:
                made = [_close_empty(table, attempt, work.partition, always)]
            files = [file for part_files, _ in made for file in part_files]
            ledger = sum((part_ledger for _, part_ledger in made), Ledger())
            digest = self._digest(SnapshotFiles(table.folder, tuple(files)))
            generation, version = attempt.generation, stage.code_version
            manifest = Manifest(self.asset, work.partition, generation, version, dict(inputs), digest, ledger)
            return table.stage(attempt, files, manifest)

    def _digest(self, files: SnapshotFiles) -> str:
        return combined_digest(
            [content_digest(files.batches(disposition, columns)) for disposition, columns in self.digested.items()]
        )


def _shown(row: Mapping[str, Any]) -> Shown:
    notes = [f"{name}: {row[name]}" for name in ("error", "error_detail", "reasons") if row.get(name)]
    body = row["text"] if row.get("text") is not None else repr(row.get("raw"))
    return Shown(f"{row['file']}:{row['record']}", (body,), notes)


def _make_part(
    stage: Stage[PartT],
    numbered: tuple[int, PartT],
    table: DocumentTable,
    attempt: Attempt,
    snapshot: str,
    always: Disposition,
    progress: Progress,
) -> tuple[list[DocumentFile], Ledger]:
    number, part = numbered
    writer = table.part_writer(attempt, snapshot, number)
    ledger = Ledger()
    try:
        writer.write(always, empty(table.schema))
        for output in stage.process(part):
            for disposition, batch in output.rows.items():
                if batch.num_rows:
                    writer.write(disposition, batch)
            ledger = ledger + output.ledger
            progress.count(output.ledger.incoming.bytes)
    finally:
        files = writer.close()
    progress.end_part()
    return files, ledger


def _close_empty(
    table: DocumentTable, attempt: Attempt, snapshot: str, always: Disposition
) -> tuple[list[DocumentFile], Ledger]:
    writer = table.part_writer(attempt, snapshot, 0)
    writer.write(always, empty(table.schema))
    return writer.close(), Ledger()


def empty(schema: pa.Schema) -> pa.RecordBatch:
    """A batch without rows."""
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)
