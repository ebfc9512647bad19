"""The clean stage: edit, measure, judge. Rejected documents are rows too, with what they broke.

Guarantees that a row out stands for every row in, in the same order, kept or rejected, and that what becomes of
a document depends on its text and the parameters alone, whatever shares its batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from blake3 import blake3
from pydantic import Field, field_validator

from llm_assets.stages.clean.count import StopWords
from llm_assets.stages.clean.judge import REASONS_TYPE, Verdicts, judge
from llm_assets.stages.clean.line_edits import LineEdits, edit_lines
from llm_assets.stages.clean.measure import STATISTICS_TYPE, measure
from llm_assets.stages.clean.normalise import Form, normalise, normalise_text
from llm_assets.stages.clean.published_rules import C4, GOPHER_STOP_WORDS, FineWeb, GopherQuality, GopherRepetition
from llm_assets.stages.clean.repair import Repairs, repair
from llm_assets.stages.clean.rules import LengthRule, Range, Rule, RuleSet
from llm_assets.stages.clean.texts import text_buffers
from llm_assets.stages.clean.unicode_classes import UNICODE_VERSION
from llm_assets.stages.stage import Disposition, Parameters, StageOutput, code_version
from llm_assets.store.arrow import byte_lengths
from llm_assets.store.ledger import Count, Ledger

VERSION: Final = "3"

CONTENT_HASH_BYTES: Final = 16

_CARRIED: Final = (
    pa.field("doc_id", pa.binary(16), nullable=False),
    pa.field("id", pa.large_string()),
    pa.field("text", pa.large_string(), nullable=False),
    pa.field("metadata", pa.large_string()),
    pa.field("file", pa.large_string(), nullable=False),
    pa.field("record", pa.int64(), nullable=False),
    pa.field("byte_offset", pa.int64()),
)

CLEANED_SCHEMA: Final = pa.schema(
    [
        *_CARRIED,
        pa.field("content_hash", pa.binary(CONTENT_HASH_BYTES), nullable=False),
        pa.field("statistics", STATISTICS_TYPE, nullable=False),
        pa.field("reasons", REASONS_TYPE, nullable=False),
    ]
)
"""`text` is as cleaning left it; `content_hash` is the first 16 bytes of the BLAKE3 of its UTF-8; `statistics` are of
it too."""


class CleanParameters(Parameters):
    """What is done to a document's text, in the order of the first three fields, and the rules that then judge it.

    `repair` and `lines` do nothing unless told to. `stop_words` (1 to 64 words) is what the statistic `stop_words`
    counts. A rule set is switched off with null; those null here are switched on, with their published thresholds, by
    `{}`. `thresholds` are free ones, by statistic. A document that breaks several rules counts as dropped by the first,
    in the order of these fields and theirs.
    """

    repair: Repairs = Repairs()
    normalise: Form = "NFC"
    lines: LineEdits = LineEdits()
    stop_words: tuple[str, ...] = GOPHER_STOP_WORDS
    length: LengthRule | None = LengthRule()
    gopher_quality: GopherQuality | None = GopherQuality()
    gopher_repetition: GopherRepetition | None = None
    c4: C4 | None = None
    fineweb: FineWeb | None = None
    thresholds: dict[str, Range] = Field(default_factory=dict[str, Range])

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Every rule switched on, in the order in which they count."""
        sets = ((name, getattr(self, name)) for name in type(self).model_fields)
        published = (rule for name, each in sets if isinstance(each, RuleSet) for rule in each.rules(name))
        free = (rule for name, each in self.thresholds.items() for rule in each.rules(f"thresholds.{name}", name))
        return (*published, *free)

    @field_validator("thresholds")
    @classmethod
    def _measured(cls, thresholds: dict[str, Range]) -> dict[str, Range]:
        for name in thresholds:
            if name not in STATISTICS_TYPE.names:
                raise ValueError(f"there is no statistic {name!r}; there are: {', '.join(STATISTICS_TYPE.names)}")
        return thresholds

    @field_validator("stop_words")
    @classmethod
    def _countable(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        if not words:
            raise ValueError("stop_words is empty: to judge without them, set gopher_quality.min_stop_words to null")
        StopWords.of(words)
        return words


@dataclass(frozen=True)
class CleanStage:
    """Cleans the kept rows of the raw stage, batch by batch. A part is an iterable of record batches."""

    parameters: CleanParameters = field(default_factory=CleanParameters)

    @property
    def code_version(self) -> str:
        """Of the code, of the running Python's Unicode tables (the statistics follow them), and of the parameters."""
        return code_version(f"{VERSION}-unicode{UNICODE_VERSION}", self.parameters)

    @property
    def schema(self) -> pa.Schema:
        """`CLEANED_SCHEMA`."""
        return CLEANED_SCHEMA

    def process(self, part: Iterable[pa.RecordBatch]) -> Iterator[StageOutput]:
        """For each batch its kept and its rejected rows (either may be empty) and their ledger, in bytes of raw text.

        Batches need the columns of `CLEANED_SCHEMA` up to `byte_offset`, of these types or castable to them;
        others are ignored. Edits count the documents that each kind of edit changed, whatever became of them, and the
        bytes by which they grew or shrank: `repair.<field>`, "nfc" or "nfkc", `lines.<field>`. Raises ValueError for
        a column that is missing, and for a null where the schema has none.
        """
        for batch in part:
            yield self._clean(batch)

    @cached_property
    def _stop_words(self) -> StopWords:
        return StopWords.of(normalise_text(word, self.parameters.normalise) for word in self.parameters.stop_words)

    def _clean(self, batch: pa.RecordBatch) -> StageOutput:
        columns = {each.name: _column(batch, each) for each in _CARRIED}
        raw_sizes = byte_lengths(columns["text"])
        texts, edits = self._edit(columns["text"])
        statistics = measure(texts, self._stop_words)
        verdicts = judge(statistics, self.parameters.rules)
        columns |= {
            "text": texts,
            "content_hash": _content_hashes(texts),
            "statistics": statistics,
            "reasons": verdicts.reasons(),
        }
        cleaned = pa.RecordBatch.from_arrays([columns[name] for name in CLEANED_SCHEMA.names], schema=CLEANED_SCHEMA)
        kept = verdicts.kept
        rows = {
            Disposition.KEPT: cleaned.filter(pa.array(kept)),
            Disposition.REJECTED: cleaned.filter(pa.array(~kept)),
        }
        return StageOutput(rows, _ledger(raw_sizes, byte_lengths(texts), edits, verdicts))

    def _edit(self, texts: pa.LargeStringArray) -> tuple[pa.LargeStringArray, dict[str, Count]]:
        """The texts repaired, normalised and with their lines edited, and what of each kind was edited."""
        texts, repaired = repair(texts, self.parameters.repair)
        form = self.parameters.normalise
        normalised = normalise(texts, form)
        changed = Count(normalised.changed_documents, normalised.changed_bytes)
        texts, edited = edit_lines(normalised.texts, self.parameters.lines)
        return texts, repaired | ({form.lower(): changed} if changed.documents else {}) | edited


def _column(batch: pa.RecordBatch, field: pa.Field) -> pa.Array:
    index = batch.schema.get_field_index(field.name)
    if index < 0:
        raise ValueError(f"the batch has no single column {field.name!r}: its columns are {batch.schema.names}")
    column = batch.column(index)
    if column.null_count and not field.nullable:
        raise ValueError(f"column {field.name!r} has {column.null_count} nulls among {len(column)} rows")
    return column if column.type == field.type else column.cast(field.type)


def _content_hashes(texts: pa.LargeStringArray) -> pa.FixedSizeBinaryArray:
    offsets, data = text_buffers(texts)
    view = memoryview(data.data)
    bounds = pairwise(offsets.tolist())
    digests = b"".join(blake3(view[start:end]).digest(length=CONTENT_HASH_BYTES) for start, end in bounds)
    buffers = [None, pa.py_buffer(digests)]
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(CONTENT_HASH_BYTES), len(texts), buffers)


def _ledger(
    raw_sizes: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], edits: dict[str, Count], verdicts: Verdicts
) -> Ledger:
    def count(sizes: npt.NDArray[np.int64], documents: npt.NDArray[np.bool_]) -> Count:
        return Count(int(documents.sum()), int(sizes[documents].sum()))

    dropped = {name: count(raw_sizes, documents) for name, documents in verdicts.dropped_by().items()}
    return Ledger(
        incoming=Count(len(raw_sizes), int(raw_sizes.sum())),
        kept=count(raw_sizes, verdicts.kept),
        output=count(sizes, verdicts.kept),
        dropped={name: amount for name, amount in dropped.items() if amount.documents},
        edits=edits,
    )
