"""The columns of a cleaned row, and what each means. How they are filled is the business of the stage."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from llm_assets.kernels.arrow import column
from llm_assets.stages.clean.judge import REASONS_TYPE
from llm_assets.stages.clean.language.language import CONFIDENCE, LANGUAGE
from llm_assets.stages.clean.measure.statistics import STATISTICS_TYPE
from llm_assets.stages.clean.pii.spans import COUNTS_TYPE

CONTENT_HASH_BYTES: Final = 16
_HASH: Final = pa.binary(CONTENT_HASH_BYTES)

LABELS_TYPE: Final = pa.list_(pa.large_string())
SCORE_TYPE: Final = pa.struct([("statistic", pa.large_string()), ("value", pa.float64())])

FINDINGS: Final = (
    column("statistics", STATISTICS_TYPE, "numbers measured of the text as cleaning left it"),
    column(LANGUAGE, pa.large_string(), "language that the model finds likeliest"),
    column(CONFIDENCE, pa.float64(), "how sure the model is of the language, from 0 to 1"),
    column("pii", COUNTS_TYPE, "spans of each kind of PII, before any was masked"),
    column("scores", pa.list_(SCORE_TYPE), "hits of each blocklist and score of each quality model"),
)
"""The columns a verdict follows from. Of a document that could not be processed all are null; what a source does not
look at is null in all its documents. `scores` holds the statistics whose names a source chooses: of its blocklists
(`blocklist.<name>`, hits), models (`quality.<model>`, 0 to 1) and user's code (`custom.<name>`), the same ones in the
same order in every row."""

CARRIED: Final = (
    column("doc_id", pa.binary(16), "the document, as in `raw`", nullable=False),
    column("id", pa.large_string(), "the record's own id; null where it has none"),
    column("text", pa.large_string(), "the text as cleaning left it; in quarantine as it came", nullable=False),
    column("metadata", pa.large_string(), "all other fields of the record: a JSON object with sorted keys"),
    column("file", pa.large_string(), "landed file, below the snapshot's folder", nullable=False),
    column("record", pa.int64(), "number of the record in its file, from 1", nullable=False),
    column("byte_offset", pa.int64(), "where the record begins in the decompressed file, where that is known"),
)
"""Columns taken over unchanged from the input of cleaning, except the text."""

CLEANED_SCHEMA: Final = pa.schema(
    [
        *CARRIED,
        column("content_hash", _HASH, "first 16 bytes of the BLAKE3 of the text in UTF-8", nullable=False),
        *FINDINGS,
        column("labels", LABELS_TYPE, "the blocklists with too many hits"),
        column("split", pa.large_string(), "the split it belongs to; null where the source has none"),
        column("fold", pa.int32(), "its fold of a cross-validation; null where the source has none"),
        column("shard", pa.int32(), "its shard by the hash of its id; null where the source has none"),
        column("reasons", REASONS_TYPE, "every rule that it breaks, with value and threshold", nullable=False),
        column("error", pa.large_string(), "why it could not be processed; null but in quarantine"),
    ]
)
"""Columns of a cleaned row. Of a document in quarantine all that is measured is null."""
