"""The link to `models/<name>`: a quality classifier, trained once on two sources or taken from files; then frozen.

It is trained on `raw`, not on `cleaned`: the score is one of the numbers that decide what `cleaned` keeps, so a
model trained on that would be made from what it decides. A model that is there is up to date, whatever has landed
since.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from llm_assets.chain.histograms import Histogram
from llm_assets.chain.link import Check, Description, Link, MissingInputError, Outcome, State, Work
from llm_assets.chain.raw import RawLink
from llm_assets.chain.samples import SAMPLE_ROWS, preview
from llm_assets.stages.clean.quality.contract import QualityModelError
from llm_assets.stages.clean.quality.draw import Drawn, amount, draw
from llm_assets.stages.clean.quality.evaluate import Evaluation, Scores
from llm_assets.stages.clean.quality.given import read_given
from llm_assets.stages.clean.quality.parameters import QualityModelParameters, TrainParameters
from llm_assets.stages.clean.quality.scorer import FASTTEXT_FILE, open_scorer
from llm_assets.stages.clean.quality.train import GOOD, ORDINARY, VERSION, train_classifier
from llm_assets.stages.stage import Disposition, code_version
from llm_assets.store.documents import Snapshot
from llm_assets.store.layout import Store
from llm_assets.store.ledger import Ledger
from llm_assets.store.manifest import Input, Manifest
from llm_assets.store.models import FrozenModel, ModelKind, StagedModel, StoredModel

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

_Snapshots = list[Snapshot]
"""The committed raw snapshots of one source, in the order of their registration."""


@dataclass(frozen=True)
class HeldOut:
    """What the model makes of the documents it was not trained on, in the order of the scores."""

    evaluation: Evaluation
    good: pa.LargeStringArray
    ordinary: pa.LargeStringArray


@dataclass(frozen=True)
class StagedQualityModel(StagedModel):
    """A model in memory that no reader sees yet; with its trial on held-out documents, if it was trained just now."""

    held_out: HeldOut | None = None


@dataclass(frozen=True)
class QualityModelLink(Link[StagedQualityModel]):
    """Makes one quality model. `good` and `ordinary` are the raw sources to train on; None where it is given."""

    name: str
    parameters: QualityModelParameters
    good: RawLink | None = None
    ordinary: RawLink | None = None
    min_accuracy: float = 0.7

    @property
    def asset(self) -> str:
        """See `Link`."""
        return f"models/{self.name}"

    @property
    def code_version(self) -> str:
        """See `Link`."""
        return code_version(VERSION, self.parameters)

    @property
    def sources(self) -> tuple[RawLink, ...]:
        """The sources it is trained on, the good one first."""
        return tuple(link for link in (self.good, self.ordinary) if link is not None)

    @property
    def checks(self) -> Sequence[Check]:
        """See `Link`."""
        trained = (HELD_OUT_DOCUMENTS, HELD_OUT_ACCURACY) if self.parameters.train else ()
        return MODEL_SCORES, *trained

    def inputs(self, store: Store, partition: str) -> dict[str, Input]:
        """The raw snapshots there are now. Raises MissingInputError where a source has none."""
        return _as_inputs(self._opened(store))

    def _opened(self, store: Store) -> list[_Snapshots]:
        """Of every source its raw snapshots, in the order of their registration. Raises MissingInputError."""
        opened = [_snapshots(store, link) for link in self.sources]
        for link, snapshots in zip(self.sources, opened, strict=True):
            if not snapshots:
                raise MissingInputError(f"{link.asset} has no snapshot to train {self.asset} on: materialize one first")
        return opened

    def committed(self, store: Store, partition: str) -> Manifest | None:
        """See `Link`."""
        stored = StoredModel.open(store.model(self.name))
        return stored.manifest if stored else None

    def state(self, store: Store, partition: str) -> State:
        """Frozen: never stale by what lands. Where its parameters are others now, `make` says what to do."""
        manifest = self.committed(store, partition)
        if manifest is not None:
            return State.CURRENT if self._declared_as(manifest) else State.STALE
        return State.MISSING if store.refusals.get(self.asset, partition) is None else State.REFUSED

    def _declared_as(self, manifest: Manifest) -> bool:
        return QualityModelParameters.model_validate(manifest.details["parameters"]) == self.parameters

    def as_input(self, store: Store) -> dict[str, Input]:
        """What a partition that is scored with the model records of it. Raises MissingInputError."""
        manifest = self._stored(store).manifest
        return {manifest.name: manifest.as_input}

    def open(self, store: Store) -> FrozenModel:
        """The committed model, for `open_scorer`. Raises MissingInputError, DamagedModelError."""
        return self._stored(store).load()

    def _stored(self, store: Store) -> StoredModel:
        stored = StoredModel.open(store.model(self.name))
        if stored is None:
            raise MissingInputError(f"{self.asset} is not there: materialize it first")
        return stored

    def make(self, work: Work) -> StagedQualityModel:
        """Train or read the model, unless it is there: then it stays what it is. Raises QualityModelError."""
        folder = work.store.model(self.name)
        stored = StoredModel.open(folder)
        if stored is not None:
            if not self._declared_as(stored.manifest):
                raise QualityModelError(
                    f"{self.asset} was made with other parameters than it is declared with now. A model is frozen: "
                    "declare the new one under a new name, or take back the change"
                )
            return StagedQualityModel(folder, stored.load(), stored.manifest)
        if self.parameters.train is not None:
            return self._train(work, self.parameters.train)
        model = read_given(self.parameters)
        return StagedQualityModel(folder, model, self._manifest(model, {}, Ledger(), {}))

    def _train(self, work: Work, parameters: TrainParameters) -> StagedQualityModel:
        opened = self._opened(work.store)
        good, ordinary = opened
        drawn = draw(_batches(good), _batches(ordinary), parameters)
        if drawn.train.documents == 0:
            raise QualityModelError(
                f"{self.asset} has nothing to be trained on: of {drawn.incoming.documents:,} documents, none could be "
                "drawn from both sources (a text that both have is not drawn)"
            )
        model = FrozenModel(ModelKind.FASTTEXT, {"label": GOOD}, {FASTTEXT_FILE: train_classifier(drawn, parameters)})
        held_out = _tried(model, drawn)
        details = {"held_out": held_out.evaluation.as_dict(), "classes": _class_details(drawn)}
        manifest = self._manifest(model, _as_inputs(opened), _ledger(drawn), details)
        return StagedQualityModel(work.store.model(self.name), model, manifest, held_out)

    def _manifest(
        self, model: FrozenModel, inputs: Mapping[str, Input], ledger: Ledger, details: Mapping[str, Any]
    ) -> Manifest:
        details = {**details, "parameters": self.parameters.model_dump(mode="json")}
        digest = model.digest
        return Manifest(self.asset, "", digest[:12], self.code_version, inputs, digest, ledger, details)

    def check(self, staged: StagedQualityModel, store: Store) -> Iterator[Outcome]:
        """See `Link`."""
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

    def describe(self, staged: StagedQualityModel) -> Description:
        """See `Link`. Scores and samples are there where the model was trained just now."""
        held_out = staged.held_out
        return Description(
            rows=staged.manifest.ledger.kept.documents,
            bytes=staged.model.size,
            columns=pa.schema([("score", pa.float64())]),
            values=_values(staged),
            histograms=_histograms(held_out.evaluation) if held_out else {},
            samples=_samples(held_out) if held_out else {},
        )


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
    """Of the documents that were drawn, as much of each as was."""
    used = drawn.train
    return Ledger(incoming=used + drawn.held_out, kept=used, output=used, dropped={"held_out": drawn.held_out})


def _class_details(drawn: Drawn) -> dict[str, dict[str, dict[str, int]]]:
    """Documents and bytes of each class."""
    classes = {GOOD: drawn.good, ORDINARY: drawn.ordinary}
    return {
        name: {"trained_on": amount(texts.train).as_dict(), "held_out": amount(texts.held_out).as_dict()}
        for name, texts in classes.items()
    }


def _values(staged: StagedQualityModel) -> dict[str, float | int | str]:
    details = staged.manifest.details
    values: dict[str, float | int | str] = {"kind": staged.model.kind.value, "fingerprint": staged.manifest.digest}
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


def _snapshots(store: Store, link: RawLink) -> _Snapshots:
    found = (link.table(store).snapshot(name) for name in store.order(link.source).names())
    return [snapshot for snapshot in found if snapshot is not None]


def _as_inputs(opened: Sequence[_Snapshots]) -> dict[str, Input]:
    return {each.manifest.name: each.manifest.as_input for snapshots in opened for each in snapshots}


def _batches(snapshots: _Snapshots) -> Iterator[pa.RecordBatch]:
    for snapshot in snapshots:
        yield from snapshot.batches(Disposition.KEPT, ["doc_id", "text"])
