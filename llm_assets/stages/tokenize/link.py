"""The link from `deduped` to `<source>/tokenized`: the token ids of every document that stays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from llm_assets.contract.histograms import Histogram
from llm_assets.contract.link import (
    LEDGER_BALANCES,
    Check,
    Description,
    Link,
    MissingInputError,
    Outcome,
    Work,
    balance_outcome,
)
from llm_assets.contract.samples import concatenated, sample_rows
from llm_assets.stages.dedup.link import DedupedDocuments, DedupedLink, open_deduped
from llm_assets.stages.tokenize.encode import VERSION, FrozenTokenizer, tokenize
from llm_assets.stages.tokenizer.link import TokenizerLink
from llm_assets.store.layout import Store
from llm_assets.store.ledger import Ledger
from llm_assets.store.manifest import Input, Manifest, partition_name
from llm_assets.store.staging import Attempt
from llm_assets.store.token_schema import token_schema
from llm_assets.store.token_set import (
    StagedTokenSet,
    TokenFile,
    TokenFiles,
    TokenFileWriter,
    TokenSet,
    begin_token_set,
)
from llm_assets.store.tokenizers import StoredTokenizer

IDS_MATCH_REFERENCE = Check(
    "ids_match_reference", "Sampled documents have the ids that the reference library gives them."
)
DOCUMENTS_END = Check("documents_end", "Every document ends with the end-of-document token, and has it nowhere else.")
SAMPLE_DOCUMENTS = 32
_READ = ["doc_id", "file", "record", "text"]


@dataclass(frozen=True)
class TokenizedLink(Link[StagedTokenSet]):
    """Tokenizes one snapshot of a source."""

    source: str
    deduped: DedupedLink
    tokenizer: TokenizerLink

    @property
    def asset(self) -> str:
        """See `Link`."""
        return f"{self.source}/tokenized"

    @property
    def code_version(self) -> str:
        """See `Link`."""
        return VERSION

    @property
    def checks(self) -> Sequence[Check]:
        """See `Link`."""
        return LEDGER_BALANCES, IDS_MATCH_REFERENCE, DOCUMENTS_END

    def _upstream(
        self, store: Store, partition: str, generation: str | None = None
    ) -> tuple[Manifest, DedupedDocuments]:
        found = open_deduped(store, self.source, partition, generation)
        if found is None:
            raise MissingInputError(f"{self.deduped.asset}[{partition}] is not there: materialize it first")
        return found

    def inputs(self, store: Store, partition: str) -> dict[str, Input]:
        """The deduplicated snapshot, its text, and the tokenizer."""
        stored, _ = self.tokenizer.open(store)
        return _as_inputs(stored, *self._upstream(store, partition))

    def committed(self, store: Store, partition: str) -> Manifest | None:
        """See `Link`."""
        found = TokenSet.open(store.tokenized(self.source, partition))
        return found.manifest if found else None

    def make(self, work: Work) -> StagedTokenSet:
        """See `Link`."""
        store, partition = work.store, work.partition
        stored, tokenizer = self.tokenizer.open(store)
        deduped, documents = self._upstream(store, partition)
        inputs = _as_inputs(stored, deduped, documents)
        attempt = begin_token_set(store.tokenized(self.source, partition))
        try:
            made = work.engine.map(lambda part: _make_part(documents, part, tokenizer, attempt), documents.parts)
            parts = tuple(part for part, _ in made)
            ledger = sum((part_ledger for _, part_ledger in made), Ledger())
            files = TokenFiles(attempt.folder, tokenizer.dtype, parts)
            manifest = Manifest(
                self.asset, partition, attempt.generation, self.code_version, inputs, files.digest(), ledger
            )
            return StagedTokenSet(attempt.folder, tokenizer.dtype, parts, attempt, manifest)
        except BaseException:
            attempt.discard()
            raise

    def check(self, staged: StagedTokenSet, store: Store) -> Iterator[Outcome]:
        """See `Link`."""
        ledger, partition = staged.manifest.ledger, staged.manifest.partition
        read = staged.manifest.inputs[partition_name(self.deduped.asset, partition)].generation
        manifest, documents = self._upstream(store, partition, read)
        rows = tokens = 0
        for batch in staged.batches():
            rows += batch.num_rows
            tokens += len(batch["input_ids"].flatten())
        written = {"documents": (rows, ledger.kept.documents), "tokens": (tokens, ledger.output.tokens)}
        yield balance_outcome(ledger, manifest.ledger.output, written)
        _, tokenizer = self.tokenizer.open(store)
        yield self._sampled(staged, documents, tokenizer)
        yield _documents_end(staged, tokenizer)

    def _sampled(self, staged: StagedTokenSet, documents: DedupedDocuments, tokenizer: FrozenTokenizer) -> Outcome:
        """Texts from the beginning of every part, encoded by the reference, against what was written."""
        compared = differing = 0
        for part in staged.parts:
            rows = staged.table(part).slice(0, SAMPLE_DOCUMENTS)["input_ids"].to_pylist()
            texts = _first_texts(documents, part.part, len(rows))
            expected = tokenizer.reference.encode_batch(texts, add_special_tokens=False)
            end = [tokenizer.end_of_document_id]
            differing += len(rows) - len(texts)
            differing += sum(row != encoding.ids + end for row, encoding in zip(rows, expected, strict=False))
            compared += len(rows)
        message = f"{differing} of {compared} sampled documents have other ids than the reference gives"
        return Outcome(IDS_MATCH_REFERENCE.name, differing == 0, message, {"compared": compared})

    def describe(self, staged: StagedTokenSet, store: Store) -> Description:
        """See `Link`."""
        lengths = [_lengths(batch) for batch in staged.batches()]
        first = next(staged.batches(), None)
        tokens = staged.tokens
        text_bytes = staged.manifest.ledger.kept.bytes
        return Description(
            rows=staged.documents,
            bytes=staged.size,
            columns=token_schema(staged.dtype),
            worked_bytes=text_bytes,
            values={"tokens": tokens, "bytes_per_token": text_bytes / tokens if tokens else None},
            histograms={"Length of the documents, tokens": Histogram.of(concatenated(lengths))},
            samples={"kept": sample_rows(first)},
        )


def _as_inputs(tokenizer: StoredTokenizer, deduped: Manifest, documents: DedupedDocuments) -> dict[str, Input]:
    """The verdicts, the text they are about, and the tokenizer."""
    manifests = deduped, documents.cleaned.manifest, tokenizer.manifest
    return {manifest.name: manifest.as_input for manifest in manifests}


def _make_part(
    documents: DedupedDocuments, part: int, tokenizer: FrozenTokenizer, attempt: Attempt
) -> tuple[TokenFile, Ledger]:
    writer = TokenFileWriter(attempt, part, tokenizer.dtype)
    ledger = Ledger()
    try:
        for batch, entry in tokenize(documents.batches(_READ, part), tokenizer):
            writer.write(batch)
            ledger = ledger + entry
    finally:
        made = writer.close()
    return made, ledger


def _first_texts(documents: DedupedDocuments, part: int, count: int) -> list[str]:
    """The first texts of a part: as many, or as many as there are."""
    texts: list[str] = []
    for batch in documents.batches(["text"], part):
        if len(texts) >= count:
            break
        texts += batch["text"].slice(0, count - len(texts)).to_pylist()
    return texts


def _lengths(batch: pa.RecordBatch) -> np.ndarray:
    return np.diff(batch["input_ids"].offsets.to_numpy())


def _documents_end(staged: StagedTokenSet, tokenizer: FrozenTokenizer) -> Outcome:
    documents = ends = elsewhere = 0
    for batch in staged.batches():
        column = batch["input_ids"]
        offsets = column.offsets.to_numpy()
        is_end = column.values.to_numpy() == tokenizer.end_of_document_id
        last = np.zeros(len(is_end), np.bool_)
        last[offsets[1:] - 1] = True
        documents += batch.num_rows
        ends += int((is_end & last).sum())
        elsewhere += int((is_end & ~last).sum())
    message = f"{ends:,} of {documents:,} documents end with it; {elsewhere:,} have it elsewhere"
    return Outcome(DOCUMENTS_END.name, ends == documents and elsewhere == 0, message)
