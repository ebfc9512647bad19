"""The columns of a token set: what the tokenize stage makes and `store.token_set` keeps."""

from __future__ import annotations

import pyarrow as pa

from llm_assets.kernels.arrow import column


def token_schema(dtype: str) -> pa.Schema:
    """Columns of a token set; `dtype` is `uint16` or `uint32`."""
    ids = pa.large_list(pa.field("item", pa.type_for_alias(dtype), nullable=False))
    return pa.schema(
        [
            column("doc_id", pa.binary(16), "the document, as in `raw`"),
            column("file", pa.large_string(), "landed file, below the snapshot's folder"),
            column("record", pa.int64(), "number of the record in its file, from 1"),
            column("input_ids", ids, "token ids of the document, the end-of-document token last"),
        ]
    )
