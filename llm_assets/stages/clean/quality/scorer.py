"""Frozen models, ready to score: the one way from what the store keeps to numbers per document."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from llm_assets.stages.clean.language.model import Classifier, ModelError
from llm_assets.stages.clean.quality.contract import QualityModelError, Scorer
from llm_assets.stages.clean.quality.network import label_probabilities, read_ngram_classifier
from llm_assets.stages.clean.quality.transformer import open_transformer
from llm_assets.stages.clean.texts import text_buffers
from llm_assets.store.frozen_model import FrozenModel, ModelKind

FASTTEXT_FILE = "model.bin"


def open_scorer(model: FrozenModel) -> Scorer:
    """The scorer of a frozen model.

    Raises QualityModelError where the model cannot be read or has not the label it is to score by, and
    ModuleNotFoundError, with what to install, where its library is missing.
    """
    if model.kind is ModelKind.TRANSFORMERS:
        return open_transformer(model)
    return _open_fasttext(model)


@dataclass(frozen=True)
class FastTextScorer:
    """Scores by the probability of a label of a fastText classifier."""

    digest: str
    classifier: Classifier
    label: int

    def score(self, texts: pa.LargeStringArray) -> npt.NDArray[np.float64]:
        """See `Scorer`. White space at will: the text counts as one line. 0 where the model knows nothing of it."""
        offsets, data = text_buffers(texts)
        classifier = self.classifier
        return label_probabilities(offsets, data, classifier.network, classifier.word_ngrams, self.label)


def _open_fasttext(model: FrozenModel) -> FastTextScorer:
    label = str(model.settings["label"]).removeprefix("__label__")
    try:
        classifier = read_ngram_classifier(model.files[FASTTEXT_FILE])
    except ModelError as error:
        raise QualityModelError(f"this fastText model cannot be used: {error}") from error
    if label not in classifier.labels:
        known = ", ".join(sorted(classifier.labels))
        raise QualityModelError(f"the fastText model has no label {label!r}; it has: {known}")
    return FastTextScorer(model.digest, classifier, classifier.labels.index(label))
