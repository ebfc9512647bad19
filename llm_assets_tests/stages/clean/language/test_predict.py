"""Labels and probabilities are those of fastText itself, for every kind of model that the reader takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.stages.clean.language.model import Classifier, read_classifier
from llm_assets.stages.clean.language.predict import NOTHING, predict
from llm_assets_tests.stages.clean.language.model_files import HIERARCHICAL, SOFTMAX, WORDS, ModelFile
from llm_assets_tests.stages.clean.odd_text import odd_text

MODELS = {
    "hierarchical": ModelFile(loss=HIERARCHICAL),
    "softmax": ModelFile(loss=SOFTMAX, seed=1),
    "pruned": ModelFile(quantised=True, pruned=90, seed=2),
    "pruned, no norms": ModelFile(quantised=True, pruned=300, norms=False, loss=SOFTMAX, seed=3),
    "single characters": ModelFile(shortest=1, longest=3, buckets=64, seed=4),
    "words only": ModelFile(shortest=0, longest=0, buckets=0, seed=5),
    "no words": ModelFile(words=(), seed=6),
    "no end of line": ModelFile(words=tuple(WORDS[1:]), seed=7),
    "two labels": ModelFile(labels=2, seed=8),
    "many labels": ModelFile(labels=300, seed=9),
    "n-grams without rows": ModelFile(quantised=True, pruned=0, seed=10),
    "wide": ModelFile(dimension=37, quantised=True, pruned=200, seed=11),
}
texts = st.lists(st.one_of(odd_text, st.sampled_from([*WORDS[1:], "thethe of", "__label__1 a", "x" * 40, " \x0b "])))


class Pair:
    """A model as we read it and as fastText does."""

    def __init__(self, file: ModelFile, folder: Path) -> None:
        path = folder / "model.bin"
        path.write_bytes(file.encode())
        self.ours: Classifier = read_classifier(path.read_bytes())
        self.theirs: Any = fasttext.load_model(str(path))

    def check(self, documents: list[str]) -> None:
        encoded = [text.encode() for text in documents]
        offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        data = np.frombuffer(b"".join(encoded), np.uint8)
        labels, probabilities = predict(offsets[:-1], offsets[1:], data, self.ours.network)
        for text, label, probability in zip(documents, labels, probabilities, strict=True):
            names, wanted = self.theirs.predict(text.replace("\n", " "))
            if not names:
                assert (label, probability) == (NOTHING, 0)
            elif f"__label__{self.ours.labels[label]}" == names[0]:
                assert probability == pytest.approx(min(wanted[0], 1), abs=2e-4)
            else:
                self._check_tie(text, label, wanted[0])

    def _check_tie(self, text: str, label: int, best: float) -> None:
        names, wanted = self.theirs.predict(text.replace("\n", " "), k=len(self.ours.labels))
        ours = dict(zip(names, wanted, strict=True))[f"__label__{self.ours.labels[label]}"]
        assert ours == pytest.approx(best, abs=1e-5)


@pytest.fixture(scope="module", params=MODELS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(MODELS[request.param], tmp_path_factory.mktemp("model"))


@settings(max_examples=60)
@given(documents=texts)
def test_predictions_are_those_of_fasttext(pair: Pair, documents: list[str]) -> None:
    pair.check([text.replace("</s>", "") for text in documents])


def test_long_words_and_many_words(pair: Pair) -> None:
    random = np.random.default_rng(0)
    long = "".join(map(chr, random.integers(33, 400, 10_000)))
    pair.check([long, f"the {long} of", "の" * 5_000, " ".join(map(str, range(3_000))), "naïve " * 3_000])


def test_a_text_does_not_feel_its_neighbours(pair: Pair) -> None:
    data = np.frombuffer(b"the thermal naive of the zone" * 2 + b"xyz", np.uint8)
    starts, ends = np.array([0, 3, 29, 29, 0, 58]), np.array([29, 17, 58, 29, 61, 61])
    together = predict(starts, ends, data, pair.ours.network)
    alone = [predict(starts[i : i + 1], ends[i : i + 1], data, pair.ours.network) for i in range(len(starts))]
    assert together[0].tolist() == [label for labels, _ in alone for label in labels.tolist()]
    assert together[1].tolist() == [each for _, probabilities in alone for each in probabilities.tolist()]
    assert (together[0][0], together[1][0]) == (together[0][2], together[1][2])


def test_the_end_of_line_within_a_text_is_no_word(pair: Pair) -> None:
    data = np.frombuffer(b"the </s> of" + b"the      of", np.uint8)
    labels, probabilities = predict(np.array([0, 11]), np.array([11, 22]), data, pair.ours.network)
    if pair.ours.network.end_of_line != NOTHING:
        assert (labels[0], probabilities[0]) == (labels[1], probabilities[1])
