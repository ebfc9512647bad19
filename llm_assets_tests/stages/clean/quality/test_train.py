"""A trained model is a file that fastText reads, the same bytes for the same texts, and it tells classes apart."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pyarrow as pa
import pytest

from llm_assets.stages.clean.quality.draw import Class, Drawn
from llm_assets.stages.clean.quality.evaluate import Evaluation
from llm_assets.stages.clean.quality.network import read_ngram_classifier
from llm_assets.stages.clean.quality.parameters import QualityTrainParameters
from llm_assets.stages.clean.quality.scorer import open_scorer
from llm_assets.stages.clean.quality.train import TrainerError, train_classifier
from llm_assets.store.frozen_model import FrozenModel, ModelKind
from llm_assets.store.ledger import Count

WORDS = {"good": ["the", "history", "of", "an", "empire,", "naïve"], "ordinary": ["buy", "the", "cheap", "win", "an"]}


def texts(kind: str, count: int, seed: int) -> pa.LargeStringArray:
    random = np.random.default_rng(seed)
    made = [" ".join(random.choice(WORDS[kind], 12)) for _ in range(count)]
    return pa.array(made, pa.large_string())


def drawn(count: int = 300, last: str | None = None) -> Drawn:
    """Made-up classes; one more text of each, if there is a last one."""
    extra = pa.array([] if last is None else [last], pa.large_string())
    classes = [Class(pa.concat_arrays([texts(kind, count, 1), extra]), texts(kind, 100, 2)) for kind in WORDS]
    return Drawn(classes[0], classes[1], Count())


def parameters(**changes: Any) -> QualityTrainParameters:
    return QualityTrainParameters(**{"good": "g", "ordinary": "o", "buckets": 500, **changes})


def frozen(data: bytes, label: str = "good") -> FrozenModel:
    return FrozenModel(ModelKind.FASTTEXT, {"label": label}, {"model.bin": data})


def test_it_tells_classes_apart_and_fasttext_reads_it(tmp_path: Path) -> None:
    data, made = train_classifier(drawn(), parameters()), drawn()
    good, ordinary = (open_scorer(frozen(data)).score(each.held_out) for each in (made.good, made.ordinary))
    assert Evaluation(good, ordinary).accuracy > 0.95
    (tmp_path / "model.bin").write_bytes(data)
    theirs = fasttext.load_model(str(tmp_path / "model.bin"))
    for text, score in zip(made.good.held_out.to_pylist(), good, strict=True):
        assert dict(zip(*theirs.predict(text, k=2), strict=True))["__label__good"] == pytest.approx(score, abs=1e-4)


def test_the_same_texts_give_the_same_bytes() -> None:
    once = train_classifier(drawn(), parameters())
    assert once == train_classifier(drawn(), parameters())
    assert once != train_classifier(drawn(299), parameters())
    assert once != train_classifier(drawn(), parameters(seed=1))


@pytest.mark.parametrize("hostile", ["__label__x", "</s>", "__label__good", "\x00__label__\x0b", "</s>\n</s>"])
def test_text_is_never_taken_for_labels_or_ends_of_lines(hostile: str) -> None:
    """fastText would read further labels from it, or stop at it."""
    plain = train_classifier(drawn(last="some more words some more words"), parameters(min_count=1))
    odd = train_classifier(drawn(last=f"some more words\n{hostile} some more words"), parameters(min_count=1))
    assert read_ngram_classifier(odd).labels == read_ngram_classifier(plain).labels
    assert open_scorer(frozen(odd)).score(texts("good", 9, 3)) == pytest.approx(
        open_scorer(frozen(plain)).score(texts("good", 9, 3))
    )


def test_words_within_words_stay() -> None:
    data = train_classifier(drawn(last="x</s> a__label__b </s>x"), parameters(min_count=1))
    assert all(word in data for word in (b"x</s>\0", b"a__label__b\0", b"</s>x\0"))


def test_parameters_reach_the_trainer() -> None:
    model = read_ngram_classifier(train_classifier(drawn(), parameters(word_ngrams=3, dimension=7, buckets=123)))
    assert model.word_ngrams == 3 and model.network.buckets == 123 and model.network.rows.shape[1] == 7
    assert sorted(model.labels) == ["good", "ordinary"]
    rare = train_classifier(drawn(last="rare"), parameters(min_count=3))
    assert b"rare\0" not in rare and b"rare\0" in train_classifier(drawn(last="rare"), parameters(min_count=2))


def test_without_the_trainer_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "floret", None)
    with pytest.raises(ModuleNotFoundError, match=r"llm-assets\[quality\]"):
        train_classifier(drawn(), parameters())


def test_another_format_of_the_trainer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import floret

    class Trained:
        def save_model(self, path: str) -> None:
            Path(path).write_bytes(b"\0" * 100)

    monkeypatch.setattr(floret, "train_supervised", lambda *_, **__: Trained())
    with pytest.raises(TrainerError, match="another format"):
        train_classifier(drawn(), parameters())
