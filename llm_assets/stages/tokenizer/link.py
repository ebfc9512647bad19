"""The link to `tokenizers/<name>`: trained once on sources, or taken from a file; then frozen.

A tokenizer that is there is up to date, whatever has landed since: other ids need another name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import blake3
import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator
from typing_extensions import override

from llm_assets.contract.frozen import FrozenLink, TrainingSource, training_inputs
from llm_assets.contract.histograms import Histogram
from llm_assets.contract.link import Check, Description, Outcome, Work
from llm_assets.contract.stage import Parameters, code_version
from llm_assets.kernels.arrow import column
from llm_assets.stages.tokenize.encode import FrozenTokenizer, TokenizerError
from llm_assets.stages.tokenizer import VERSION
from llm_assets.stages.tokenizer.train import first_bytes, train_byte_level_bpe
from llm_assets.store.folder import read_uri
from llm_assets.store.layout import Store
from llm_assets.store.ledger import Count, Ledger
from llm_assets.store.manifest import Manifest
from llm_assets.store.tokenizers import StagedTokenizer, StoredTokenizer

SAMPLE_TEXTS = [
    "",
    " ",
    "It's 3.14 — naïve café, 東京 🗼\n\tdef f(x):\n        return x  # <|endoftext|>\r\n",
    "words   with   runs of    spaces\n\n\nand lines\n",
    "\u0000\u200b\ufeff combining e\u0301 and a lone \ufffd",
]
"""Texts that tokenizers are known to differ on; every tokenizer is tried on them."""

SAMPLE_DOCUMENTS = 64

ENCODER_AGREES = Check(
    "encoder_agrees", "The fast encoder gives the same ids as the reference library on difficult and sampled texts."
)
ROUND_TRIP = Check("round_trip", "Decoding the ids gives back the text, byte for byte.")


class TokenizerTrainParameters(Parameters):
    """Train a byte-level BPE. `max_bytes` of text are used, the same share from each source."""

    sources: tuple[str, ...] = Field(min_length=1)
    vocabulary_size: int = Field(default=16_384, ge=257 + 1, le=1 << 20)
    max_bytes: int = Field(default=20_000_000, gt=0)


class TokenizerParameters(Parameters):
    """Either `train`, or the `path` (a URI) of a `tokenizer.json`."""

    train: TokenizerTrainParameters | None = None
    path: str | None = None
    end_of_document: str = Field(default="<|endoftext|>", min_length=1)

    @model_validator(mode="after")
    def _one_origin(self) -> TokenizerParameters:
        if (self.train is None) == (self.path is None):
            raise ValueError("give either `train` or `path`, and not both")
        return self


@dataclass(frozen=True)
class TokenizerLink(FrozenLink[StagedTokenizer, StoredTokenizer]):
    """Makes one tokenizer. `sources` are the documents it is trained on."""

    parameters: TokenizerParameters

    kind = noun = "tokenizer"
    trained_on = ("text",)
    kinds = frozenset({"huggingface"})
    summary = "The tokenizer, frozen once made."
    error = TokenizerError

    @property
    @override
    def code_version(self) -> str:
        return code_version(VERSION, self.parameters)

    @property
    @override
    def checks(self) -> Sequence[Check]:
        return ENCODER_AGREES, ROUND_TRIP

    @override
    def find(self, store: Store) -> StoredTokenizer | None:
        return StoredTokenizer.open(store.tokenizer(self.name))

    def load(self, store: Store) -> FrozenTokenizer:
        """The committed tokenizer. Raises MissingInputError."""
        stored = self.stored(store)
        return FrozenTokenizer.of(stored.json_text, stored.manifest.details["end_of_document"])

    @override
    def uri(self, store: Store, partition: str) -> str:
        return store.tokenizer(self.name).uri

    @override
    def as_made(self, store: Store, stored: StoredTokenizer) -> StagedTokenizer:
        return StagedTokenizer(store.tokenizer(self.name), stored.json_text, stored.manifest)

    def make_first(self, work: Work) -> StagedTokenizer:
        """Train or read the tokenizer. Raises TokenizerError, MissingInputError."""
        sources = self.training_sources(work.store)
        json_text, ledger = self._train(sources) if self.parameters.train else (self._read(), Ledger())
        tokenizer = FrozenTokenizer.of(json_text, self.parameters.end_of_document)
        digest = blake3.blake3(f"{tokenizer.end_of_document_id}\n{json_text}".encode()).hexdigest(length=16)
        details = {
            "vocabulary_size": tokenizer.vocabulary_size,
            "end_of_document": tokenizer.end_of_document,
            "parameters": self.parameters.model_dump(mode="json"),
        }
        manifest = Manifest(
            self.asset, "", digest[:12], self.code_version, training_inputs(sources), digest, ledger, details
        )
        return StagedTokenizer(work.store.tokenizer(self.name), json_text, manifest)

    def _train(self, sources: Sequence[TrainingSource]) -> tuple[str, Ledger]:
        """On the same share of text from each source, from its snapshots in order."""
        train = self.parameters.train
        assert train is not None
        share = train.max_bytes // len(sources)
        texts = [text for snapshots in sources for text in first_bytes(self._written(snapshots), share)]
        used = Count(len(texts), sum(len(text.encode()) for text in texts))
        json_text = train_byte_level_bpe(texts, train.vocabulary_size, [self.parameters.end_of_document])
        return json_text, Ledger(incoming=used, kept=used, output=used)

    def _written(self, snapshots: TrainingSource) -> Iterator[pa.RecordBatch]:
        """Batches that have a document."""
        return (batch for batch in self.batches(snapshots) if batch.num_rows)

    def _read(self) -> str:
        path = self.parameters.path
        assert path is not None
        try:
            return read_uri(path).decode()
        except (OSError, ValueError) as error:
            raise TokenizerError(f"{self.asset}: {path} cannot be read as a tokenizer.json: {error}") from error

    def _sample(self, store: Store) -> pa.Array:
        """The difficult texts, and the first documents of every source."""
        texts = list(SAMPLE_TEXTS)
        for link in self.sources:
            batch = next(self._written(self.snapshots(store, link)), None)
            texts += [] if batch is None else batch["text"].slice(0, SAMPLE_DOCUMENTS).to_pylist()
        return pa.array(texts, pa.large_string())

    @override
    def check(self, staged: StagedTokenizer, store: Store) -> Iterator[Outcome]:
        tokenizer = FrozenTokenizer.of(staged.json_text, self.parameters.end_of_document)
        texts = self._sample(store)
        differing = tokenizer.disagreements(texts)
        yield Outcome(
            ENCODER_AGREES.name,
            not differing,
            f"{len(differing)} of {len(texts)} texts have other ids than the reference",
        )
        offsets, ids = tokenizer.encode(texts)
        decoded = [tokenizer.decode(ids[begin:end]) for begin, end in pairwise(offsets)]
        lost = sum(text != back for text, back in zip(texts.to_pylist(), decoded, strict=True))
        yield Outcome(ROUND_TRIP.name, lost == 0, f"{lost} of {len(texts)} texts do not come back from their ids")

    @override
    def describe(self, staged: StagedTokenizer, store: Store) -> Description:
        tokenizer = FrozenTokenizer.of(staged.json_text, self.parameters.end_of_document)
        vocabulary = tokenizer.reference.get_vocab()
        lengths = np.array([len(token) for token in vocabulary], np.int64)
        return Description(
            rows=tokenizer.vocabulary_size,
            bytes=len(staged.json_text.encode()),
            columns=pa.schema(
                [
                    column("token", pa.string(), "the token as the tokenizer writes it"),
                    column("id", pa.int64(), "its id"),
                ]
            ),
            values={
                "vocabulary_size": tokenizer.vocabulary_size,
                "fingerprint": staged.manifest.digest,
                "trained_on_bytes": staged.manifest.ledger.kept.bytes,
            },
            histograms={"Length of the tokens, bytes": Histogram.of(lengths)},
            samples={"tokens": _tokens(vocabulary, tokenizer)},
        )


def _tokens(vocabulary: dict[str, int], tokenizer: FrozenTokenizer) -> list[dict[str, str]]:
    """Some tokens from the middle and the end of the vocabulary."""
    by_id = sorted(vocabulary.items(), key=lambda entry: entry[1])
    places = np.linspace(len(by_id) // 2, len(by_id) - 1, 8).astype(int)
    return [{"id": str(by_id[p][1]), "text": repr(tokenizer.decode(np.array([by_id[p][1]])))} for p in places]
