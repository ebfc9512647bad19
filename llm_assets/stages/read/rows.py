"""Records of several files become one batch of rows and its ledger entry.

Guarantees that the ledger's `incoming` is counted as records arrive and the other side from the rows that leave,
so a record lost in between shows as an imbalance. Reading and judging records is not done here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa

from llm_assets.contract.stage import Disposition, StageOutput
from llm_assets.kernels.arrow import byte_lengths, column
from llm_assets.stages.read.records import (
    DOC_ID_BYTES,
    RAW_LIMIT,
    Kept,
    Quarantined,
    ReadError,
    Record,
    document_id,
)
from llm_assets.store.ledger import Count, Ledger

BATCH_BYTES = 16 << 20
"""A batch is full at so many bytes of text, metadata and raw records …"""
BATCH_ROWS = 1 << 16
"""… or at so many rows, which bounds what short records take in Python objects."""

RAW_SCHEMA = pa.schema(
    [
        column("doc_id", pa.binary(DOC_ID_BYTES), "hash of the record's own id and its text; null in quarantine"),
        column("id", pa.large_string(), "the record's own id; null where it has none"),
        column("text", pa.large_string(), "the text as it came; null in quarantine"),
        column("metadata", pa.large_string(), "all other fields of the record: a JSON object with sorted keys"),
        column("file", pa.large_string(), "landed file, below the snapshot's folder", nullable=False),
        column("record", pa.int64(), "number of the record in its file, from 1", nullable=False),
        column("byte_offset", pa.int64(), "where the record begins in the decompressed file, where that is known"),
        column("error", pa.large_string(), "kind of error that put it in quarantine; null in documents"),
        column("error_detail", pa.large_string(), "what the reader said of the error"),
        column("raw", pa.large_binary(), "the record in quarantine, or its beginning"),
        column("records", pa.int64(), "input records that the row stands for", nullable=False),
    ]
)
"""Columns of a raw row, a document or what could not be read."""


def _strings(values: list[bytes | None]) -> pa.Array:
    """A large_string column of values that are valid UTF-8, without checking them a second time."""
    return pa.array(values, pa.large_binary()).view(pa.large_string())


@dataclass
class RowBatch:
    """Collects records until it is `full`; then its `output` is due, and the next batch begins."""

    _kept: list[Kept] = field(default_factory=list[Kept])
    _kept_files: list[str] = field(default_factory=list[str])
    _quarantined: list[Quarantined] = field(default_factory=list[Quarantined])
    _quarantined_files: list[str] = field(default_factory=list[str])
    _held_bytes: int = 0
    _incoming_documents: int = 0
    _incoming_bytes: int = 0

    @property
    def full(self) -> bool:
        """Whether it holds as much as a batch should."""
        return self._held_bytes >= BATCH_BYTES or len(self) >= BATCH_ROWS

    def __len__(self) -> int:
        return len(self._kept) + len(self._quarantined)

    def add(self, file: str, record: Record) -> None:
        """Take in one record of `file` (its name relative to the snapshot)."""
        self._held_bytes += len(record.metadata or b"")
        if isinstance(record, Kept):
            self._incoming_documents += 1
            self._incoming_bytes += len(record.text)
            self._held_bytes += len(record.text)
            self._kept.append(record)
            self._kept_files.append(file)
        else:
            self._incoming_documents += record.records
            self._incoming_bytes += record.size
            self._held_bytes += min(len(record.raw), RAW_LIMIT)
            self._quarantined.append(record)
            self._quarantined_files.append(file)

    def output(self) -> StageOutput:
        """The records as rows, documents and quarantine each in order of arrival, and their ledger."""
        kept, quarantined = self._kept_rows(), self._quarantined_rows()
        rows = {Disposition.KEPT: kept, Disposition.QUARANTINED: quarantined}
        return StageOutput(rows=rows, ledger=self._ledger(kept, quarantined))

    def _kept_rows(self) -> pa.RecordBatch:
        rows = self._kept
        nulls = pa.nulls(len(rows), pa.large_string())
        columns = {
            "doc_id": pa.array([document_id(row.own_id, row.text) for row in rows], pa.binary(DOC_ID_BYTES)),
            "id": pa.array([row.own_id for row in rows], pa.large_string()),
            "text": _strings([row.text for row in rows]),
            "metadata": _strings([row.metadata for row in rows]),
            "file": self._file_names(self._kept_files),
            "record": pa.array([row.record for row in rows], pa.int64()),
            "byte_offset": pa.array([row.byte_offset for row in rows], pa.int64()),
            "error": nulls,
            "error_detail": nulls,
            "raw": pa.nulls(len(rows), pa.large_binary()),
            "records": pa.repeat(pa.scalar(1, pa.int64()), len(rows)),
        }
        return pa.RecordBatch.from_arrays(list(columns.values()), schema=RAW_SCHEMA)

    def _quarantined_rows(self) -> pa.RecordBatch:
        rows = self._quarantined
        columns = {
            "doc_id": pa.nulls(len(rows), pa.binary(DOC_ID_BYTES)),
            "id": pa.array([row.own_id for row in rows], pa.large_string()),
            "text": pa.nulls(len(rows), pa.large_string()),
            "metadata": _strings([row.metadata for row in rows]),
            "file": self._file_names(self._quarantined_files),
            "record": pa.array([row.record for row in rows], pa.int64()),
            "byte_offset": pa.array([row.byte_offset for row in rows], pa.int64()),
            "error": pa.array([str(row.error) for row in rows], pa.large_string()),
            "error_detail": pa.array([row.detail for row in rows], pa.large_string()),
            "raw": pa.array([row.raw[:RAW_LIMIT] for row in rows], pa.large_binary()),
            "records": pa.array([row.records for row in rows], pa.int64()),
        }
        return pa.RecordBatch.from_arrays(list(columns.values()), schema=RAW_SCHEMA)

    @staticmethod
    def _file_names(names: list[str]) -> pa.Array:
        """File names as a column; bytes of a name that are not UTF-8 are written as `\\udc..`."""
        return pa.array([name.encode(errors="backslashreplace") for name in names], pa.large_string())

    def _ledger(self, kept: pa.RecordBatch, quarantined: pa.RecordBatch) -> Ledger:
        documents = Count(kept.num_rows, int(byte_lengths(kept["text"]).sum()))
        sizes: Counter[ReadError] = Counter()
        for row in self._quarantined:
            sizes[row.error] += row.size
        records: Counter[str] = Counter()
        for error, count in zip(quarantined["error"].to_pylist(), quarantined["records"].to_pylist(), strict=True):
            records[error] += count
        return Ledger(
            incoming=Count(self._incoming_documents, self._incoming_bytes),
            kept=documents,
            output=documents,
            quarantined={error: Count(records[error], sizes[ReadError(error)]) for error in sorted(records)},
        )
