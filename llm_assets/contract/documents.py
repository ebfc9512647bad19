"""What the document links share: a Delta table, and a stage mapped over parts into a staged snapshot of it.

Guarantees that the digest of a snapshot follows from its rows in document order, and that nothing is left behind
where a part fails. What a snapshot is made from and how it is checked is the business of each link.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, TypeVar

import pyarrow as pa

from llm_assets.contract.link import Link, MissingInputError, Work
from llm_assets.contract.stage import Disposition, Stage
from llm_assets.store.digest import combined_digest, content_digest
from llm_assets.store.documents import CommittedSnapshot, DocumentFile, DocumentTable, SnapshotFiles, StagedSnapshot
from llm_assets.store.layout import Store
from llm_assets.store.ledger import Ledger
from llm_assets.store.manifest import Input, Manifest
from llm_assets.store.staging import Attempt

PartT = TypeVar("PartT")


class DocumentLink(Link[StagedSnapshot]):
    """A link whose partitions are snapshots of the Delta table of one stage of a source.

    `digested` are the dispositions and the columns of each (None: all) that make the digest; the first of them gets a
    file in every part, rows or not.
    """

    source: str
    stage_name: ClassVar[str]
    schema: ClassVar[pa.Schema]
    digested: ClassVar[Mapping[Disposition, Sequence[str] | None]]

    @property
    def asset(self) -> str:
        """See `Link`."""
        return f"{self.source}/{self.stage_name}"

    def table(self, store: Store) -> DocumentTable:
        """The Delta table of the stage."""
        return store.documents(self.source, self.stage_name, self.schema)

    def committed(self, store: Store, partition: str) -> Manifest | None:
        """See `Link`."""
        snapshot = self.table(store).snapshot(partition)
        return snapshot.manifest if snapshot else None

    def opened(self, store: Store, partition: str, generation: str | None = None) -> CommittedSnapshot:
        """The committed snapshot, or an earlier generation of it. Raises MissingInputError."""
        snapshot = self.table(store).snapshot(partition, generation)
        if snapshot is None:
            raise MissingInputError(f"{self.asset}[{partition}] is not there: materialize it first")
        return snapshot

    def stage_parts(
        self, work: Work, stage: Stage[PartT], parts: Sequence[PartT], inputs: Mapping[str, Input]
    ) -> StagedSnapshot:
        """Run the stage over all parts and stage the result."""
        table = self.table(work.store)
        always = next(iter(self.digested))
        attempt = table.begin()
        try:
            made = work.engine.map(
                lambda numbered: _make_part(stage, numbered, table, attempt, work.partition, always), enumerate(parts)
            )
            if not made:
                made = [_close_empty(table, attempt, work.partition, always)]
            files = [file for part_files, _ in made for file in part_files]
            ledger = sum((part_ledger for _, part_ledger in made), Ledger())
            digest = self._digest(SnapshotFiles(table.folder, tuple(files)))
            generation, version = attempt.generation, stage.code_version
            manifest = Manifest(self.asset, work.partition, generation, version, dict(inputs), digest, ledger)
            return table.stage(attempt, files, manifest)
        except BaseException:
            attempt.discard()
            raise

    def _digest(self, files: SnapshotFiles) -> str:
        return combined_digest(
            [content_digest(files.batches(disposition, columns)) for disposition, columns in self.digested.items()]
        )


def _make_part(
    stage: Stage[PartT],
    numbered: tuple[int, PartT],
    table: DocumentTable,
    attempt: Attempt,
    snapshot: str,
    always: Disposition,
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
    finally:
        files = writer.close()
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
