"""A small document table, and snapshots of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from llm_assets.store.documents import CommittedSnapshot, DocumentTable, SnapshotFiles, StagedSnapshot
from llm_assets.store.folder import Folder
from llm_assets.store.ledger import Count, Ledger
from llm_assets.store.manifest import Manifest

SCHEMA = pa.schema(
    [
        pa.field("doc_id", pa.binary(16)),
        pa.field("text", pa.large_string()),
        pa.field("file", pa.large_string(), nullable=False),
        pa.field("record", pa.int64(), nullable=False),
        pa.field("words", pa.struct([pa.field("count", pa.int64()), pa.field("fraction", pa.float64())])),
        pa.field("reasons", pa.list_(pa.struct([pa.field("rule", pa.large_string())]))),
    ]
)


def table_at(path: Path | str) -> DocumentTable:
    return DocumentTable(Folder(str(path)), SCHEMA)


def rows(texts: Sequence[str | None]) -> pa.RecordBatch:
    columns = [
        pa.array([(text or "").encode()[:16].ljust(16, b".") for text in texts], pa.binary(16)),
        pa.array(texts, pa.large_string()),
        pa.array(["f.jsonl"] * len(texts), pa.large_string()),
        pa.array(range(len(texts)), pa.int64()),
        pa.array([{"count": len((text or "").split()), "fraction": 0.5} for text in texts], SCHEMA.field("words").type),
        pa.array([[{"rule": "short"}] if not text else [] for text in texts], SCHEMA.field("reasons").type),
    ]
    return pa.record_batch(columns, schema=SCHEMA)


def staged(
    table: DocumentTable, snapshot: str, *parts: Mapping[str, Iterable[str | None]], digest: str = "d"
) -> StagedSnapshot:
    """A part for every mapping of disposition to texts."""
    attempt = table.begin()
    files = []
    for number, dispositions in enumerate(parts):
        writer = table.part_writer(attempt, snapshot, number)
        for disposition, texts in dispositions.items():
            writer.write(disposition, rows(list(texts)))
        files += writer.close()
    kept = Count(sum(len(list(part.get("kept", ()))) for part in parts))
    ledger = Ledger(incoming=kept, kept=kept, output=kept)
    manifest = Manifest("docs/cleaned", snapshot, attempt.generation, "1", {}, digest, ledger)
    return table.stage(attempt, files, manifest)


def commit(table: DocumentTable, snapshot: str, *texts: str) -> CommittedSnapshot:
    staged(table, snapshot, {"kept": texts}).commit()
    committed = table.snapshot(snapshot)
    assert committed is not None
    return committed


def texts_of(files: SnapshotFiles, disposition: str = "kept") -> list[str]:
    return [text for batch in files.batches(disposition, ["text"]) for text in batch["text"].to_pylist()]
