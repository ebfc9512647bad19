"""The columns of the provenance of packed rows, and what each means."""

from __future__ import annotations

import pyarrow as pa

from llm_assets.kernels.arrow import column

PROVENANCE_SCHEMA = pa.schema(
    [
        column("row", pa.int64(), "row that the piece is in"),
        column("start", pa.int32(), "place of its first token in the row"),
        column("length", pa.int32(), "tokens of the piece"),
        column("doc_id", pa.binary(16), "the document, as in `raw`"),
        column("document_start", pa.int64(), "tokens of the document that went before the piece"),
        column("file", pa.large_string(), "landed file, below the snapshot's folder"),
        column("record", pa.int64(), "number of the record in its file, from 1"),
    ]
)
"""Columns of the provenance of rows, a record for each piece of a document."""

ORIGIN_SCHEMA = pa.schema([PROVENANCE_SCHEMA.field(name) for name in ("doc_id", "file", "record")])
"""Columns that identify a document, in provenance and in the token set."""
