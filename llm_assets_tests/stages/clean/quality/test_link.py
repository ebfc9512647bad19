"""`models/<name>`: trained on two sources of real text, checked on what was held out, frozen; or taken from files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from llm_assets.contract.engine import LocalEngine
from llm_assets.contract.link import MissingInputError, State, Work
from llm_assets.stages.clean.quality.contract import QualityModelError
from llm_assets.stages.clean.quality.link import (
    HELD_OUT_ACCURACY,
    HELD_OUT_DOCUMENTS,
    MODEL_SCORES,
    QualityModelLink,
    StagedQualityModel,
)
from llm_assets.stages.clean.quality.parameters import FileParameters, QualityModelParameters, QualityTrainParameters
from llm_assets.stages.clean.quality.scorer import open_scorer
from llm_assets.stages.read.link import RawLink
from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.store.folder import Folder
from llm_assets.store.layout import SUCCESS, Store
from llm_assets_tests.stages.clean.language.model_files import SOFTMAX, ModelFile
from llm_assets_tests.stages.clean.odd_text import real_data
from llm_assets_tests.worlds.world import jsonl, paragraphs

BUCKETS = 50_000
DOCUMENTS = 800


def trained(**changes: Any) -> QualityModelLink:
    train = QualityTrainParameters(**{"good": "wiki", "ordinary": "web", "buckets": BUCKETS, **changes})
    raw = tuple(RawLink(name, ReadParameters()) for name in (train.good, train.ordinary))
    return QualityModelLink("quality", QualityModelParameters(train=train), raw)


def given(path: Path, label: str) -> QualityModelLink:
    return QualityModelLink("given", QualityModelParameters(file=FileParameters(path=str(path), label=label)))


def land(store: Store, source: str, snapshot: str, texts: list[str], parts: int = 1) -> None:
    """A raw snapshot, from landed files."""
    folder = store.landing / f"{source}/{snapshot}"
    for part in range(parts):
        folder.put(f"{part}.jsonl", jsonl(texts[part::parts]))
    folder.put(SUCCESS, b"")
    RawLink(source, ReadParameters()).make(Work(store, LocalEngine(2), snapshot)).commit()


def make(link: QualityModelLink, store: Store) -> StagedQualityModel:
    return link.make(Work(store, LocalEngine(2), ""))


def failed(link: QualityModelLink, staged: StagedQualityModel, store: Store) -> list[str]:
    outcomes = list(link.check(staged, store))
    assert [outcome.check for outcome in outcomes] == [check.name for check in link.checks]
    assert all(check.blocking for check in link.checks)
    return [outcome.check for outcome in outcomes if not outcome.passed]


def articles() -> list[str]:
    """Paragraphs of Wikipedia."""
    lines = [line for part in ("valid", "test") for line in real_data(f"wikitext-2/wiki.{part}.raw").open()]
    return [line.strip() for line in lines if len(line) > 200][:DOCUMENTS]


def technical() -> list[str]:
    """Documents about programs, and programs."""
    frame = pl.scan_ndjson(
        real_data("technical-corpus/part-00.jsonl.zst"), schema={"text": pl.String}, n_rows=DOCUMENTS
    )
    return frame.collect()["text"].to_list()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two sources of real text. Not to be changed."""
    store = Store(Folder(str(tmp_path_factory.mktemp("quality"))))
    half = len(articles()) // 2
    land(store, "wiki", "a", articles()[:half], parts=2)
    land(store, "wiki", "b", articles()[half:])
    land(store, "web", "a", technical(), parts=3)
    return store


@pytest.fixture(scope="module")
def staged(store: Store) -> StagedQualityModel:
    return make(trained(), store)


@pytest.fixture
def empty(tmp_path: Path) -> Store:
    return Store(Folder(str(tmp_path / "store")))


# --- trained on real text ------------------------------------------------------------------------------------------


def test_articles_are_told_from_technical_documents(store: Store, staged: StagedQualityModel) -> None:
    link = trained()
    assert failed(link, staged, store) == []
    found = staged.manifest.details["held_out"]
    assert found["accuracy"] > 0.9 and found["auc"] > 0.98
    counts = staged.manifest.details["classes"]
    assert counts["good"]["held_out"]["documents"] == counts["ordinary"]["held_out"]["documents"] > 50
    ledger = staged.manifest.ledger
    assert ledger.incoming == ledger.kept + ledger.dropped_total
    assert {name.split("[")[0] for name in staged.manifest.inputs} == {"wiki/raw", "web/raw"}
    assert len(staged.manifest.inputs) == 3


def test_scores_are_those_of_fasttext(staged: StagedQualityModel, tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(staged.model.files["model.bin"])
    theirs = fasttext.load_model(str(path))
    texts = technical()[:200] + articles()[:200]
    scores = open_scorer(staged.model).score(pa.array(texts, pa.large_string()))
    for text, score in zip(texts, scores, strict=True):
        labels, probabilities = theirs.predict(text.replace("\n", " "), k=2)
        assert dict(zip(labels, probabilities, strict=True))["__label__good"] == pytest.approx(score, abs=1e-4)


def test_the_same_text_gives_the_same_model_however_it_lands(staged: StagedQualityModel, empty: Store) -> None:
    land(empty, "web", "2026", technical()[::-1])
    land(empty, "wiki", "2026", articles(), parts=5)
    assert make(trained(), empty).model == staged.model


def test_a_person_sees_what_it_is_unsure_of(store: Store, staged: StagedQualityModel) -> None:
    described = trained().describe(staged, store)
    assert staged.held_out is not None
    held_out = staged.manifest.details["held_out"]
    assert described.values["held_out_accuracy"] == held_out["accuracy"]
    assert described.values["good_trained_on_documents"] > 600 and described.bytes == staged.model.size
    for title, histogram in described.histograms.items():
        assert histogram.counts[""].sum() > 50 and 0 <= histogram.edges[0] < histogram.edges[-1] <= 1, title
    lowest = [float(row["score"]) for row in described.samples["good_with_the_lowest_scores"]]
    highest = [float(row["score"]) for row in described.samples["ordinary_with_the_highest_scores"]]
    assert lowest == sorted(lowest) and lowest[0] == round(staged.held_out.evaluation.good.min(), 4)
    assert highest == sorted(highest, reverse=True)
    assert all(row["text"] for rows in described.samples.values() for row in rows)


def test_an_accuracy_below_the_minimum_fails(store: Store, staged: StagedQualityModel) -> None:
    assert failed(replace(trained(), min_accuracy=0.9999), staged, store) == [HELD_OUT_ACCURACY.name]


# --- what cannot be trained ----------------------------------------------------------------------------------------


def test_classes_that_are_alike_cannot_be_told_apart(empty: Store) -> None:
    words = np.array(["the", "of", "and", "to", "in", "a", "is", "it"])
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(words, 30)) for _ in range(800)]
    land(empty, "wiki", "a", texts[::2])
    land(empty, "web", "a", texts[1::2])
    assert HELD_OUT_ACCURACY.name in failed(trained(), make(trained(), empty), empty)


def test_without_held_out_documents_there_is_no_accuracy(empty: Store) -> None:
    land(empty, "wiki", "a", paragraphs(0, 40))
    land(empty, "web", "a", paragraphs(100, 140))
    link = trained(held_out=1e-9)
    assert failed(link, make(link, empty), empty) == [HELD_OUT_DOCUMENTS.name, HELD_OUT_ACCURACY.name]


def test_the_same_text_on_both_sides_trains_nothing(empty: Store) -> None:
    land(empty, "wiki", "a", paragraphs(0, 20))
    land(empty, "web", "a", paragraphs(0, 20))
    with pytest.raises(QualityModelError, match="models/quality has nothing to be trained on: of 40 documents"):
        make(trained(), empty)


def test_a_source_without_a_snapshot_is_named(empty: Store) -> None:
    land(empty, "wiki", "a", paragraphs(0, 20))
    with pytest.raises(MissingInputError, match=r"web/raw has no snapshot to train models/quality on"):
        make(trained(), empty)
    assert trained().state(empty, "") is State.MISSING


# --- frozen --------------------------------------------------------------------------------------------------------


def test_it_is_frozen_once_made(empty: Store) -> None:
    link = trained()
    for how in (link.load, link.as_input):
        with pytest.raises(MissingInputError, match="models/quality is not there"):
            how(empty)
    land(empty, "wiki", "a", paragraphs(0, 60))
    land(empty, "web", "a", [text.upper() for text in paragraphs(100, 160)])
    first = make(link, empty)
    assert link.state(empty, "") is State.MISSING and failed(link, first, empty) == []
    first.commit()
    land(empty, "wiki", "b", paragraphs(200, 300))
    assert link.state(empty, "") is State.CURRENT
    again = make(link, empty)
    assert again.model == first.model and failed(link, again, empty) == []
    assert link.describe(again, empty).values == link.describe(first, empty).values
    again.commit()
    assert link.load(empty) == first.model
    assert link.as_input(empty) == {"models/quality": first.manifest.as_input}
    other = trained(epochs=6)
    assert other.state(empty, "") is State.STALE
    with pytest.raises(QualityModelError, match="declare the new one under a new name"):
        make(other, empty)


# --- given ---------------------------------------------------------------------------------------------------------


def test_a_file_is_taken_as_it_is(empty: Store, tmp_path: Path) -> None:
    path = tmp_path / "dclm.bin"
    path.write_bytes(ModelFile(loss=SOFTMAX, labels=2, word_ngrams=2, shortest=0, longest=0).encode())
    link = given(path, "1")
    staged = make(link, empty)
    assert [check.name for check in link.checks] == [MODEL_SCORES.name] and failed(link, staged, empty) == []
    staged.commit()
    assert link.load(empty).files == {"model.bin": path.read_bytes()} and link.state(empty, "") is State.CURRENT
    path.unlink()
    make(link, empty).commit()
    assert link.describe(staged, empty).values["kind"] == "fasttext"


def test_a_file_without_the_label_or_not_whole_fails_the_check(empty: Store, tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(ModelFile(loss=SOFTMAX, labels=2).encode())
    link = given(path, "hq")
    (outcome,) = link.check(make(link, empty), empty)
    assert not outcome.passed and outcome.message == "the fastText model has no label 'hq'; it has: 0, 1"
    path.write_bytes(path.read_bytes()[:-3])
    assert failed(link, make(link, empty), empty) == [MODEL_SCORES.name]


def test_a_file_that_gives_no_numbers_fails_the_check(empty: Store, tmp_path: Path) -> None:
    data = ModelFile(loss=SOFTMAX, labels=2, dimension=1, shortest=0, longest=0).encode()
    path = tmp_path / "model.bin"
    path.write_bytes(data[:-8] + np.array([np.nan, np.nan], np.float32).tobytes())
    link = given(path, "0")
    assert failed(link, make(link, empty), empty) == [MODEL_SCORES.name]
