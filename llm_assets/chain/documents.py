"""What the document links share: a stage mapped over parts into a staged snapshot of a Delta table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import pyarrow as pa

from llm_assets.chain.engine import LocalEngine
from llm_assets.stages.stage import Disposition, Stage
from llm_assets.store.documents import DocumentFile, DocumentTable, SnapshotFiles, StagedSnapshot
from llm_assets.store.ledger import Ledger
from llm_assets.store.manifest import Manifest
from llm_assets.store.staging import Attempt

PartT = TypeVar("PartT")
ManifestBuilder = Callable[[Attempt, SnapshotFiles, Ledger], Manifest]


def stage_documents(
    engine: LocalEngine,
    stage: Stage[PartT],
    parts: Sequence[PartT],
    table: DocumentTable,
    snapshot: str,
    always: Disposition,
    manifest: ManifestBuilder,
) -> StagedSnapshot:
    """Run the stage over all parts and stage the result. `always` gets a file in every part, rows or not.

    Nothing is left behind where a part fails.
    """
    attempt = table.begin()
    try:
        made = engine.map(
            lambda numbered: _make_part(stage, numbered, table, attempt, snapshot, always), enumerate(parts)
        )
        if not made:
            made = [_close_empty(table, attempt, snapshot, always)]
        files = [file for part_files, _ in made for file in part_files]
        ledger = sum((part_ledger for _, part_ledger in made), Ledger())
        staged = SnapshotFiles(table.folder, tuple(files))
        return table.stage(attempt, files, manifest(attempt, staged, ledger))
    except BaseException:
        attempt.discard()
        raise


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
