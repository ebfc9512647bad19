"""The link to `models/<name>`: a quality classifier, trained once on two sources or taken from files; then frozen.

It is trained on `raw`, not on `cleaned`: the score is one of the numbers that decide what `cleaned` keeps, so a
model trained on that would be made from what it decides. A model that is there is up to date, whatever has landed
since.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from typing_extensions import override

from llm_assets.contract.frozen import FrozenLink, training_inputs
from llm_assets.contract.histograms import Histogram
from llm_assets.contract.link import Check, Description, Outcome, Work
from llm_assets.contract.samples import SAMPLE_ROWS, preview
from llm_assets.contract.stage import code_version
from llm_assets.kernels.arrow import column
from llm_assets.stages.clean.quality import VERSION
from llm_assets.stages.clean.quality.contract import QualityModelError
from llm_assets.stages.clean.quality.draw import Drawn, amount, draw
from llm_assets.stages.clean.quality.evaluate import Evaluation, Scores
from llm_assets.stages.clean.quality.given import fasttext_model, is_needed, transformers_model
from llm_assets.stages.clean.quality.parameters import QualityModelParameters, QualityTrainParameters
from llm_assets.stages.clean.quality.scorer import FASTTEXT_FILE, open_scorer
from llm_assets.stages.clean.quality.train import GOOD, ORDINARY, train_classifier
from llm_assets.store.folder import Folder
from llm_assets.store.frozen_model import FrozenModel, ModelKind
from llm_assets.store.layout import Store
from llm_assets.store.ledger import Ledger
from llm_assets.store.manifest import Input, Manifest
from llm_assets.store.models import StagedModel, StoredModel
from llm_assets.store.named_files import NamedFileError, read_named

SAMPLE_TEXTS = [
    "",
    "\n",
    "The committee published its report on the history of the canal in 1884.",
    "click here!!! BUY now >>> free free free\n\n\nwin $$$ today",
    "naïve café, 東京 🗼 </s> __label__good\u0000 e\u0301",
    "word " * 2_000,
]
"""Texts that every model has to score."""

MODEL_SCORES = Check(
    "model_scores", "The model loads, has the label it scores by, and scores sample texts from 0 to 1."
)
HELD_OUT_DOCUMENTS = Check("held_out_documents", "Documents of both classes were held out from training.")
HELD_OUT_ACCURACY = Check("held_out_accuracy", "The accuracy on held-out documents is at least the model's minimum.")


@dataclass(frozen=True)
class HeldOut:
    """The evaluation of the model on documents that it was not trained on, in the order of the scores."""

    evaluation: Evaluation
    good: pa.LargeStringArray
    ordinary: pa.LargeStringArray


@dataclass(frozen=True)
class StagedQualityModel(StagedModel):
    """A model in memory that no reader sees yet; with its trial on held-out documents, if it was trained just now."""

    held_out: HeldOut | None = None


@dataclass(frozen=True)
class QualityModelLink(FrozenLink[StagedQualityModel, StoredModel]):
    """Makes one quality model. `sources` are the good and the ordinary one to train on; none where it is given."""

    parameters: QualityModelParameters
    min_accuracy: float = 0.7

    kind, noun = "model", "quality model"
    trained_on = ("doc_id", "text")
    kinds = frozenset({"huggingface"})
    summary = "A classifier of good documents, frozen once made."
    error = QualityModelError

    @property
    @override
    def code_version(self) -> str:
        return code_version(VERSION, self.parameters)

    @property
    @override
    def checks(self) -> Sequence[Check]:
        trained = (HELD_OUT_DOCUMENTS, HELD_OUT_ACCURACY) if self.parameters.train else ()
        return MODEL_SCORES, *trained

    @override
    def find(self, store: Store) -> StoredModel | None:
        return StoredModel.open(store.model(self.name))

    @override
    def uri(self, store: Store, partition: str) -> str:
        return store.model(self.name).uri

    def as_input(self, store: Store) -> dict[str, Input]:
        """The model as an input of a partition that is scored with it. Raises MissingInputError."""
        manifest = self.stored(store).manifest
        return {manifest.name: manifest.as_input}

    def load(self, store: Store) -> FrozenModel:
        """The committed model, for `open_scorer`. Raises MissingInputError, DamagedModelError."""
        return self.stored(store).load()

    @override
    def as_made(self, store: Store, stored: StoredModel) -> StagedQualityModel:
        """Raises DamagedModelError."""
        return StagedQualityModel(store.model(self.name), stored.load(), stored.manifest)

    def make_first(self, work: Work) -> StagedQualityModel:
        """Train or read the model. Raises QualityModelError, MissingInputError."""
        if self.parameters.train is not None:
            return self._train(work, self.parameters.train)
        model = read_given(self.parameters)
        folder = work.store.model(self.name)
        return StagedQualityModel(folder, model, self._manifest(model, {}, Ledger(), {}))

    def _train(self, work: Work, parameters: QualityTrainParameters) -> StagedQualityModel:
        sources = self.training_sources(work.store)
        good, ordinary = sources
        drawn = draw(self.batches(good), self.batches(ordinary), parameters)
        if drawn.train.documents == 0:
            raise QualityModelError(
                f"{self.asset} has nothing to be trained on: of {drawn.incoming.documents:,} documents, none could be "
                "drawn from both sources (a text that both have is not drawn)"
            )
        model = FrozenModel(ModelKind.FASTTEXT, {"label": GOOD}, {FASTTEXT_FILE: train_classifier(drawn, parameters)})
        held_out = _tried(model, drawn)
        details = {"held_out": held_out.evaluation.as_dict(), "classes": _class_details(drawn)}
        manifest = self._manifest(model, training_inputs(sources), _ledger(drawn), details)
        return StagedQualityModel(work.store.model(self.name), model, manifest, held_out)

    def _manifest(
        self, model: FrozenModel, inputs: Mapping[str, Input], ledger: Ledger, details: Mapping[str, Any]
    ) -> Manifest:
        details = {**details, "parameters": self.parameters.model_dump(mode="json")}
        digest = model.digest
        return Manifest(self.asset, "", digest[:12], self.code_version, inputs, digest, ledger, details)

    @override
    def check(self, staged: StagedQualityModel, store: Store) -> Iterator[Outcome]:
        yield _scores(staged.model)
        if self.parameters.train is None:
            return
        found = staged.manifest.details["held_out"]
        good = found["good_taken_for_good"] + found["good_taken_for_ordinary"]
        ordinary = found["ordinary_taken_for_good"] + found["ordinary_taken_for_ordinary"]
        yield Outcome(
            HELD_OUT_DOCUMENTS.name,
            good > 0 and ordinary > 0,
            f"{good:,} good and {ordinary:,} ordinary documents were held out",
            {"good": good, "ordinary": ordinary},
        )
        accuracy = found["accuracy"]
        yield Outcome(
            HELD_OUT_ACCURACY.name,
            accuracy >= self.min_accuracy,
            f"{accuracy:.2%} of the held-out documents are told right; the minimum is {self.min_accuracy:.2%}",
            {"minimum": self.min_accuracy, **found},
        )

    @override
    def describe(self, staged: StagedQualityModel, store: Store) -> Description:
        """Scores and samples are there where the model was trained just now."""
        held_out = staged.held_out
        return Description(
            rows=staged.manifest.ledger.kept.documents,
            bytes=staged.model.size,
            columns=pa.schema([column("score", pa.float64(), "how good a document is, from 0 to 1")]),
            values=_values(staged),
            histograms=_histograms(held_out.evaluation) if held_out else {},
            samples=_samples(held_out) if held_out else {},
        )


def read_given(parameters: QualityModelParameters) -> FrozenModel:
    """The model that `file` or `transformers` names. Raises QualityModelError where it cannot be read."""
    file, transformers = parameters.file, parameters.transformers
    if file is not None:
        with _told(file.path):
            return fasttext_model(file, read_named(file.path).data)
    if transformers is not None:
        with _told(transformers.folder):
            folder = Folder(transformers.folder)
            files = {name: folder.read(name) for name in folder.names() if is_needed(name)}
        return transformers_model(transformers, files)
    raise QualityModelError("these parameters give no model: they train one")


@contextmanager
def _told(where: str) -> Generator[None]:
    try:
        yield
    except (OSError, NamedFileError) as error:
        raise QualityModelError(f"{where} cannot be read as a model: {error}") from error


def _scores(model: FrozenModel) -> Outcome:
    """Whether the model scores texts that are known to be difficult."""
    texts = pa.array(SAMPLE_TEXTS, pa.large_string())
    try:
        scores = open_scorer(model).score(texts)
    except QualityModelError as error:
        return Outcome(MODEL_SCORES.name, False, str(error))
    valid = int(((scores >= 0) & (scores <= 1)).sum())  # not a number is neither
    message = f"{valid} of {len(texts)} sample texts have a score from 0 to 1"
    details = {"lowest": float(scores.min()), "highest": float(scores.max())}
    return Outcome(MODEL_SCORES.name, valid == len(texts), message, details)


def _tried(model: FrozenModel, drawn: Drawn) -> HeldOut:
    scorer = open_scorer(model)
    good, ordinary = drawn.good.held_out, drawn.ordinary.held_out
    return HeldOut(Evaluation(scorer.score(good), scorer.score(ordinary)), good, ordinary)


def _ledger(drawn: Drawn) -> Ledger:
    """The ledger of the drawn documents: those trained on are kept, the others held out."""
    used = drawn.train
    return Ledger(incoming=used + drawn.held_out, kept=used, output=used, dropped={"held_out": drawn.held_out})


def _class_details(drawn: Drawn) -> dict[str, dict[str, dict[str, int]]]:
    """Documents and bytes of each class."""
    classes = {GOOD: drawn.good, ORDINARY: drawn.ordinary}
    return {
        name: {"trained_on": amount(texts.train).as_dict(), "held_out": amount(texts.held_out).as_dict()}
        for name, texts in classes.items()
    }


def _values(staged: StagedQualityModel) -> dict[str, float | int | str | None]:
    details = staged.manifest.details
    values: dict[str, float | int | str | None] = {
        "kind": staged.model.kind.value,
        "fingerprint": staged.manifest.digest,
    }
    values |= {f"held_out_{name}": value for name, value in details.get("held_out", {}).items()}
    for name, uses in details.get("classes", {}).items():
        for use, count in uses.items():
            values |= {f"{name}_{use}_{unit}": count[unit] for unit in ("documents", "bytes")}
    return values


def _histograms(evaluation: Evaluation) -> dict[str, Histogram]:
    return {
        "Held-out scores of good documents": Histogram.of(evaluation.good),
        "Held-out scores of ordinary documents": Histogram.of(evaluation.ordinary),
    }


def _samples(held_out: HeldOut) -> dict[str, list[dict[str, str]]]:
    """The documents that the model is most wrong about, or least sure of."""
    scores = held_out.evaluation
    lowest = np.argsort(scores.good, kind="stable")
    highest = np.argsort(-scores.ordinary, kind="stable")
    return {
        "good_with_the_lowest_scores": _scored(held_out.good, scores.good, lowest),
        "ordinary_with_the_highest_scores": _scored(held_out.ordinary, scores.ordinary, highest),
    }


def _scored(texts: pa.LargeStringArray, scores: Scores, order: npt.NDArray[np.int64]) -> list[dict[str, str]]:
    places = order[:SAMPLE_ROWS].tolist()
    return [{"score": f"{scores[place]:.4f}", "text": preview(texts[place].as_py())} for place in places]
