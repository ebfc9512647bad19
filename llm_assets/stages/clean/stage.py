"""The clean stage: edit, measure, judge. Rejected documents are rows too, with what they broke.

Guarantees that a row out stands for every row in, in the same order, kept, rejected or quarantined, and that what
becomes of a document depends on its text (with a blocklist of domains, on its URL) and the parameters alone, whatever
shares its batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from llm_assets.contract.by_hash import assign
from llm_assets.contract.stage import Disposition, StageOutput
from llm_assets.kernels.arrow import byte_lengths
from llm_assets.stages.clean.blocklist.blocklists import Blocklists, labels
from llm_assets.stages.clean.columns import CARRIED, CLEANED_SCHEMA, CONTENT_HASH_BYTES, FINDINGS
from llm_assets.stages.clean.custom import documents_of, edited, measured
from llm_assets.stages.clean.edit.line_edits import edit_lines
from llm_assets.stages.clean.edit.normalise import normalise, normalise_text
from llm_assets.stages.clean.edit.repair import repair
from llm_assets.stages.clean.findings import score_column, verdicts
from llm_assets.stages.clean.judge import REASONS_TYPE, Verdicts
from llm_assets.stages.clean.language.language import LANGUAGE, Identifier
from llm_assets.stages.clean.measure.count import StopWords
from llm_assets.stages.clean.measure.measure import measure
from llm_assets.stages.clean.parameters import OTHER_LANGUAGES, CleanParameters
from llm_assets.stages.clean.pii.apply import PiiResult, apply
from llm_assets.stages.clean.quality.contract import Scorer
from llm_assets.stages.clean.texts import text_buffers
from llm_assets.stages.clean.version import stage_version
from llm_assets.store.ledger import Count, Ledger

PROCESSING_ERROR: Final = "processing_error"
"""The quarantine error of documents that raise an error when they are processed."""

_PROCESSING_ERRORS: Final = (ValueError, RuntimeError, ArithmeticError, LookupError)
_URL: Final = "$.url"


@dataclass(frozen=True)
class CleanStage:
    """Cleans the kept rows of the raw stage, batch by batch. A part is an iterable of record batches.

    `scorers` has every model that `parameters.quality` names, `files` the content of each of `parameters.files`.
    """

    parameters: CleanParameters = field(default_factory=CleanParameters)
    scorers: Mapping[str, Scorer] = field(default_factory=dict[str, Scorer])
    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes], repr=False)

    @property
    def code_version(self) -> str:
        """`stage_version` of the parameters."""
        return stage_version(self.parameters)

    @property
    def schema(self) -> pa.Schema:
        """`CLEANED_SCHEMA`."""
        return CLEANED_SCHEMA

    def process(self, part: Iterable[pa.RecordBatch]) -> Iterator[StageOutput]:
        """For each batch its kept and its rejected rows (either may be empty) and their ledger, in bytes of raw text.

        Batches need the columns of `CLEANED_SCHEMA` up to `byte_offset`, of these types or castable to them;
        others are ignored. Edits count the documents that each kind of edit changed, whatever became of them, and the
        bytes by which they grew or shrank: `repair.<field>`, `custom.<name>`, "nfc" or "nfkc", `lines.<field>`,
        `pii.<kind>`.
        A document that cannot be processed goes to quarantine. Raises ValueError for a column that is missing, and for
        a null where the schema has none; BlocklistError and ModelError for files that cannot be used.
        """
        _ = self._identifier, self._blocklists
        for batch in part:
            columns = {each.name: _column(batch, each) for each in CARRIED}
            carried = pa.RecordBatch.from_arrays(list(columns.values()), schema=pa.schema(CARRIED))
            try:
                yield self._clean(carried)
            except _PROCESSING_ERRORS:
                yield from (self._clean_alone(carried.slice(row, 1)) for row in range(len(carried)))

    @cached_property
    def _stop_words(self) -> dict[str, StopWords]:
        """By language, for all others under `OTHER_LANGUAGES`."""
        words, form = self.parameters.stop_words, self.parameters.normalise
        lists = words if isinstance(words, dict) else {OTHER_LANGUAGES: words}
        return {name: StopWords.of(normalise_text(word, form) for word in each) for name, each in lists.items()}

    @cached_property
    def _identifier(self) -> Identifier | None:
        return Identifier.of(self.parameters.language, self.files) if self.parameters.language else None

    @cached_property
    def _blocklists(self) -> Blocklists | None:
        lists = self.parameters.blocklists
        return Blocklists.of(lists, self.parameters.normalise, self.files) if lists else None

    def _clean_alone(self, document: pa.RecordBatch) -> StageOutput:
        """One document, which goes to quarantine where it cannot be processed."""
        try:
            return self._clean(document)
        except _PROCESSING_ERRORS as error:
            columns = {name: document[name] for name in document.schema.names}
            columns |= {
                "content_hash": _content_hashes(document["text"]),
                "reasons": pa.array([[]], REASONS_TYPE),
                "error": pa.array([f"{type(error).__name__}: {error}"], pa.large_string()),
            }
            amount = Count(1, int(byte_lengths(document["text"]).sum()))
            ledger = Ledger(incoming=amount, quarantined={PROCESSING_ERROR: amount})
            return StageOutput({Disposition.QUARANTINED: _rows(columns, 1)}, ledger)

    def _clean(self, batch: pa.RecordBatch) -> StageOutput:
        raw = batch["text"]
        texts, edits, pii = self._edit(batch)
        hits = self._hits(batch, texts)
        findings = self._findings(documents_of(batch, texts), pii, hits)
        judged = verdicts(
            pa.RecordBatch.from_arrays(list(findings.values()), schema=pa.schema(FINDINGS)), self.parameters
        )
        columns = {name: batch[name] for name in batch.schema.names} | findings
        columns |= {
            "text": texts,
            "content_hash": _content_hashes(texts),
            "labels": labels(self.parameters.blocklists, hits),
            **assign(batch["doc_id"], self.parameters.splits),
            "reasons": judged.reasons(),
        }
        cleaned = _rows(columns, len(batch))
        kept = judged.kept
        rows = {
            Disposition.KEPT: cleaned.filter(pa.array(kept)),
            Disposition.REJECTED: cleaned.filter(pa.array(~kept)),
        }
        return StageOutput(rows, _ledger(byte_lengths(raw), byte_lengths(texts), edits, judged))

    def _edit(self, batch: pa.RecordBatch) -> tuple[pa.LargeStringArray, dict[str, Count], PiiResult | None]:
        """The texts repaired, normalised, with their lines edited and PII masked, and what of each kind was edited."""
        texts, edits = repair(batch["text"], self.parameters.repair)
        for edit in self.parameters.edits:
            texts, edits[edit.label] = edited(edit, documents_of(batch, texts))
        form = self.parameters.normalise
        normalised = normalise(texts, form)
        edits[form.lower()] = Count(normalised.changed_documents, normalised.changed_bytes)
        texts, of_lines = edit_lines(normalised.texts, self.parameters.lines)
        edits = {name: count for name, count in edits.items() if count.documents} | of_lines
        if self.parameters.pii is None:
            return texts, edits, None
        pii = apply(texts, self.parameters.pii)
        return pii.texts, edits | dict(pii.edits), pii

    def _hits(self, batch: pa.RecordBatch, texts: pa.LargeStringArray) -> npt.NDArray[np.int64]:
        """How often each document has entries of each blocklist: [documents, lists]."""
        if self._blocklists is None:
            return np.zeros((len(texts), 0), np.int64)
        return self._blocklists.hits(texts, self._urls(batch))

    def _findings(
        self, documents: pa.RecordBatch, pii: PiiResult | None, hits: npt.NDArray[np.int64]
    ) -> dict[str, pa.Array]:
        """The columns of `FINDINGS`."""
        texts = documents["text"]
        known: dict[str, pa.Array] = {}
        if self._identifier is not None and self.parameters.language is not None:
            languages = self._identifier.identify(texts, self.parameters.language.sample_bytes)
            known |= dict(zip(languages.type.names, languages.flatten(), strict=True))
        known["statistics"] = self._measure(texts, known.get(LANGUAGE))
        if pii is not None:
            known["pii"] = pii.counts_column()
        scores = {
            each.statistic: hits[:, place].astype(np.float64) for place, each in enumerate(self.parameters.blocklists)
        }
        scores |= {each.statistic: self.scorers[each.model].score(texts) for each in self.parameters.quality}
        scores |= {each.label: measured(each, documents) for each in self.parameters.statistics}
        known["scores"] = score_column(len(texts), scores)
        return {each.name: known.get(each.name, pa.nulls(len(texts), each.type)) for each in FINDINGS}

    def _measure(self, texts: pa.LargeStringArray, languages: pa.LargeStringArray | None) -> pa.StructArray:
        """The statistics, with the stop words of each document's language."""
        others = self._stop_words[OTHER_LANGUAGES]
        if languages is None or len(self._stop_words) == 1:
            return measure(texts, others, self.parameters.words)
        options = pc.SetLookupOptions(pa.array(list(self._stop_words), pa.large_string()))
        place = pc.call_function("index_in", [languages], options).fill_null(-1).to_numpy(zero_copy_only=False)
        groups = [(place == number, words) for number, words in enumerate(self._stop_words.values())]
        groups.append((place < 0, others))
        split = self.parameters.words
        measured = [measure(texts.filter(pa.array(chosen)), words, split) for chosen, words in groups]
        order = np.concatenate([np.flatnonzero(chosen) for chosen, _ in groups])
        return pa.concat_arrays(measured).take(pa.array(np.argsort(order)))

    def _urls(self, batch: pa.RecordBatch) -> pa.LargeStringArray | None:
        """The field `url` of each document's metadata, where a blocklist has domains."""
        if all(each.domains is None for each in self.parameters.blocklists):
            return None
        metadata: Any = pl.from_arrow(batch["metadata"])
        return metadata.str.json_path_match(_URL).to_arrow(compat_level=pl.CompatLevel.oldest())


def _rows(columns: Mapping[str, pa.Array], documents: int) -> pa.RecordBatch:
    """A batch of `CLEANED_SCHEMA`; a column not given is null."""
    arrays = [columns[each.name] if each.name in columns else pa.nulls(documents, each.type) for each in CLEANED_SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=CLEANED_SCHEMA)


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
    raw_sizes: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], edits: dict[str, Count], judged: Verdicts
) -> Ledger:
    def count(sizes: npt.NDArray[np.int64], documents: npt.NDArray[np.bool_]) -> Count:
        return Count(int(documents.sum()), int(sizes[documents].sum()))

    dropped = {name: count(raw_sizes, documents) for name, documents in judged.dropped_by().items()}
    return Ledger(
        incoming=Count(len(raw_sizes), int(raw_sizes.sum())),
        kept=count(raw_sizes, judged.kept),
        output=count(sizes, judged.kept),
        dropped={name: amount for name, amount in dropped.items() if amount.documents},
        edits=edits,
    )
