"""The link to `<source>/tokenized`: the token ids of every document that stays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import numpy as np
import pyarrow as pa
from typing_extensions import override

from llm_assets.contract.documents import DocumentLink, Documents, as_inputs
from llm_assets.contract.histograms import Histogram
from llm_assets.contract.link import (
    LEDGER_BALANCES,
    Check,
    Description,
    Link,
    MissingInputError,
    Outcome,
    Shown,
    Work,
    balance_outcome,
)
from llm_assets.contract.progress import Progress
from llm_assets.contract.samples import concatenated, sample_rows
from llm_assets.contract.site import Site, SourceStage
from llm_assets.stages.tokenize import VERSION
from llm_assets.stages.tokenize.encode import FrozenTokenizer, tokenize
from llm_assets.stages.tokenizer.link import TokenizerLink
from llm_assets.store.folder import Folder
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

IDS_MATCH_REFERENCE = Check(
    "ids_match_reference", "Sampled documents have the ids that the reference library gives them."
)
DOCUMENTS_END = Check("documents_end", "Every document ends with the end-of-document token, and has it nowhere else.")
SAMPLE_DOCUMENTS = 32
_READ = ["doc_id", "file", "record", "text"]


@dataclass(frozen=True)
class TokenizedLink(Link[StagedTokenSet], SourceStage):
    """Tokenizes one snapshot of a source: of `documents`."""

    source: str
    documents: DocumentLink
    tokenizer: TokenizerLink

    stage_name = "tokenized"
    summary = "Token ids of documents."
    kinds = frozenset({"huggingface", "arrow"})

    @classmethod
    @override
    def placed(cls, site: Site) -> Self:
        tokenizer = site.find(TokenizerLink.key(site.parameters), "tokenizer")
        return cls(site.source, cast(DocumentLink, site.upstream), cast(TokenizerLink, tokenizer))

    @property
    @override
    def upstream(self) -> Sequence[Link[Any]]:
        return self.documents, self.tokenizer

    @property
    @override
    def asset(self) -> str:
        return f"{self.source}/{self.stage_name}"

    @property
    @override
    def code_version(self) -> str:
        return VERSION

    @property
    @override
    def checks(self) -> Sequence[Check]:
        return LEDGER_BALANCES, IDS_MATCH_REFERENCE, DOCUMENTS_END

    def inputs(self, store: Store, partition: str) -> dict[str, Input]:
        """The documents, whatever holds their text, and the tokenizer."""
        documents = self.documents.documents_of(store, partition)
        return as_inputs([*documents.manifests, self.tokenizer.stored(store).manifest])

    def set_folder(self, store: Store, partition: str) -> Folder:
        """The folder of the token set."""
        return store.tokenized(self.source, partition)

    @override
    def uri(self, store: Store, partition: str) -> str:
        return self.set_folder(store, partition).uri

    @override
    def open(self, store: Store, partition: str) -> TokenSet | None:
        return TokenSet.open(self.set_folder(store, partition))

    def opened(self, store: Store, partition: str) -> TokenSet:
        """The committed token set. Raises MissingInputError."""
        tokens = self.open(store, partition)
        if tokens is None:
            raise MissingInputError.of(partition_name(self.asset, partition))
        return tokens

    @override
    def show(self, store: Store, partition: str, *, lost: bool = False) -> Iterator[Shown]:
        tokens, tokenizer = self.opened(store, partition), self.tokenizer.load(store)
        for row in (row for batch in tokens.batches() for row in batch.to_pylist()):
            ids = row["input_ids"]
            yield Shown(f"{row['file']}:{row['record']}  {len(ids):,} tokens", (tokenizer.decode(np.array(ids)),))

    @override
    def committed(self, store: Store, partition: str) -> Manifest | None:
        found = self.open(store, partition)
        return found.manifest if found else None

    @override
    def make(self, work: Work) -> StagedTokenSet:
        store, partition = work.store, work.partition
        stored, tokenizer = self.tokenizer.stored(store), self.tokenizer.load(store)
        documents = self.documents.documents_of(store, partition)
        inputs = as_inputs([*documents.manifests, stored.manifest])
        with begin_token_set(self.set_folder(store, partition)) as attempt:
            progress = Progress(work.say, len(documents.parts))
            made = work.engine.map(
                lambda part: _make_part(documents, part, tokenizer, attempt, progress), documents.parts
            )
            parts = tuple(part for part, _ in made)
            ledger = sum((part_ledger for _, part_ledger in made), Ledger())
            files = TokenFiles(attempt.folder, tokenizer.dtype, parts)
            manifest = Manifest(
                self.asset, partition, attempt.generation, self.code_version, inputs, files.digest(), ledger
            )
            return StagedTokenSet(attempt.folder, tokenizer.dtype, parts, attempt, manifest)

    @override
    def check(self, staged: StagedTokenSet, store: Store) -> Iterator[Outcome]:
        ledger, partition = staged.manifest.ledger, staged.manifest.partition
        read = staged.manifest.inputs[partition_name(self.documents.asset, partition)].generation
        documents = self.documents.documents_of(store, partition, read)
        rows = tokens = 0
        for batch in staged.batches():
            rows += batch.num_rows
            tokens += len(batch["input_ids"].flatten())
        written = {"documents": (rows, ledger.kept.documents), "tokens": (tokens, ledger.output.tokens)}
        yield balance_outcome(ledger, documents.manifests[0].ledger.output, written)
        tokenizer = self.tokenizer.load(store)
        yield self._sampled(staged, documents, tokenizer)
        yield _documents_end(staged, tokenizer)

    def _sampled(self, staged: StagedTokenSet, documents: Documents, tokenizer: FrozenTokenizer) -> Outcome:
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

    @override
    def describe(self, staged: StagedTokenSet, store: Store) -> Description:
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


def _make_part(
    documents: Documents, part: int, tokenizer: FrozenTokenizer, attempt: Attempt, progress: Progress
) -> tuple[TokenFile, Ledger]:
    writer = TokenFileWriter(attempt, part, tokenizer.dtype)
    ledger = Ledger()
    try:
        for batch, entry in tokenize(documents.batches(_READ, part), tokenizer):
            writer.write(batch)
            ledger = ledger + entry
            progress.count(entry.incoming.bytes)
    finally:
        made = writer.close()
    progress.end_part()
    return made, ledger


def _first_texts(documents: Documents, part: int, count: int) -> list[str]:
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
