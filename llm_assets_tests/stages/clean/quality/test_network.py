"""Probabilities are those of fastText itself, for every kind of model that the reader takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.stages.clean.language.model import ModelError
from llm_assets.stages.clean.language.predict import hash_word
from llm_assets.stages.clean.quality import network
from llm_assets.stages.clean.quality.network import label_probabilities, read_ngram_classifier
from llm_assets.stages.clean.texts import text_buffers
from llm_assets_tests.stages.clean.language.model_files import HIERARCHICAL, NEGATIVE, SOFTMAX, WORDS, ModelFile
from llm_assets_tests.stages.clean.odd_text import column, odd_text


def model(**changes: Any) -> ModelFile:
    return ModelFile(**{"loss": SOFTMAX, "labels": 2, "word_ngrams": 2, "shortest": 0, "longest": 0, **changes})


MODELS = {
    "words": model(word_ngrams=1, buckets=0),
    "pairs": model(seed=1),
    "up to five words": model(word_ngrams=5, seed=2),
    "one bucket": model(buckets=1, seed=3),
    "subwords": model(word_ngrams=1, shortest=2, longest=4, seed=4),
    "subwords and pairs": model(shortest=1, longest=3, seed=5),
    "pairs, pruned": model(quantised=True, pruned=120, seed=6),
    "subwords and pairs, pruned": model(shortest=2, longest=3, quantised=True, pruned=200, norms=False, seed=7),
    "pairs without rows": model(quantised=True, pruned=0, seed=8),
    "no words": model(words=(), seed=9),
    "no end of line": model(words=tuple(WORDS[1:]), seed=10),
    "many labels": model(labels=40, dimension=37, seed=11),
}
texts = st.lists(st.one_of(odd_text, st.sampled_from([*WORDS[1:], "the of the", "__label__1 a", "x " * 40, " \x0b "])))


class Pair:
    """A model as we read it and as fastText does."""

    def __init__(self, file: ModelFile, folder: Path) -> None:
        path = folder / "model.bin"
        path.write_bytes(file.encode())
        self.ours = read_ngram_classifier(path.read_bytes())
        self.theirs: Any = fasttext.load_model(str(path))

    def score(self, documents: pa.LargeStringArray, label: int) -> np.ndarray:
        offsets, data = text_buffers(documents)
        return label_probabilities(offsets, data, self.ours.network, self.ours.word_ngrams, label)

    def check(self, documents: list[str]) -> None:
        labels = range(len(self.ours.labels))
        scores = np.stack([self.score(column(documents, 1, 1), label) for label in labels], axis=1)
        for text, row in zip(documents, scores, strict=True):
            names, wanted = self.theirs.predict(text.replace("\n", " ").replace("</s>", ""), k=len(labels))
            theirs = dict(zip(names, wanted, strict=True))
            expected = [theirs.get(f"__label__{name}", 0) for name in self.ours.labels]
            # fastText adds 1e-5 to each before it takes a logarithm
            assert row.tolist() == pytest.approx(expected, abs=1e-4)


@pytest.fixture(scope="module", params=MODELS.values(), ids=MODELS.keys())
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(request.param, tmp_path_factory.mktemp("model"))


@given(documents=texts)
@settings(max_examples=40)
def test_probabilities_are_those_of_fasttext(pair: Pair, documents: list[str]) -> None:
    pair.check(documents)


def test_texts_without_words_and_with_long_ones(pair: Pair) -> None:
    pair.check(["", " ", "\n\n", "\x00", "the" * 5_000, " ".join(map(str, range(3_000))), "naïve 日本 " * 2_000])


def test_labels_and_ends_of_line_within_a_text_are_no_words(pair: Pair) -> None:
    scores = pair.score(column(["the of", "the </s> of", "__label__0 the\n__label__x of </s>"]), 0)
    assert scores[0] == scores[1] == scores[2]


def test_the_hash_of_the_end_of_line() -> None:
    assert hash_word(np.frombuffer(b"</s>", np.uint8)) == network._END_OF_LINE


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a whole fastText model: 0 bytes"),
        (b"\0" * 200, "does not begin as fastText models"),
        (model().encode()[:-1], "not a whole fastText model"),
        (model(loss=HIERARCHICAL).encode(), "its loss is hierarchical softmax"),
        (model(loss=NEGATIVE).encode(), "no supervised model with softmax"),
        (model(kind=1).encode(), "no supervised model"),
        (model(quantised_output=True).encode(), "output layer is quantised"),
        (model(buckets=0).encode(), "0 buckets"),
    ],
)
def test_what_cannot_be_scored_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(ModelError, match=why):
        read_ngram_classifier(data)
