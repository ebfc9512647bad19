"""The columns of verdicts, and what each means."""

from __future__ import annotations

import pyarrow as pa

from llm_assets.kernels.arrow import column

VERDICT_SCHEMA = pa.schema(
    [
        column("doc_id", pa.binary(16), "the document, as in `raw`"),
        column("file", pa.large_string(), "landed file, below the snapshot's folder"),
        column("record", pa.int64(), "number of the record in its file, from 1"),
        column("kept", pa.bool_(), "whether the document stays"),
        column("partner_doc_id", pa.binary(16), "the earlier document that it is a copy of; null where it stays"),
        column("partner_snapshot", pa.large_string(), "snapshot of that earlier document"),
        column("similarity", pa.float64(), "how similar the two are, from 0 to 1"),
    ]
)
"""One row per cleaned document, in the same order. The partner is the earlier document that it equals. Copies with
the same id of their own have the same `doc_id`: file and record tell them apart."""
