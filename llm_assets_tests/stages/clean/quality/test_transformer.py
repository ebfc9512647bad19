"""Scores of a transformers classifier are those of the library, batched or not. Skipped where it is not installed."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm_assets.stages.clean.quality.contract import QualityModelError, Scorer
from llm_assets.stages.clean.quality.link import read_given
from llm_assets.stages.clean.quality.parameters import QualityModelParameters, TransformersParameters
from llm_assets.stages.clean.quality.scorer import open_scorer
from llm_assets.store.frozen_model import FrozenModel, ModelKind
from llm_assets_tests.stages.clean.odd_text import column

TEXTS = ["the good text", "", "bad " * 400, "the of", "naïve 日本 \x00 text", "good " * 20, "the"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "good", "bad", "text", "of", "na", "##ive"]


def write_bert(folder: Path, labels: list[str]) -> Path:
    """A tiny BERT with random weights, as `save_pretrained` leaves it, and files that are not wanted."""
    transformers = pytest.importorskip("transformers", reason="the extra `transformers` is not installed")
    torch = pytest.importorskip("torch")
    folder.mkdir()
    (folder / "words").write_text("\n".join(VOCABULARY))
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
        initializer_range=1.0,
    )
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    transformers.BertTokenizerFast(vocab={word: n for n, word in enumerate(VOCABULARY)}).save_pretrained(folder)
    (folder / "training.py").write_text("raise SystemExit")
    return folder


def scorer(folder: Path, **settings: Any) -> Scorer:
    parameters = TransformersParameters.model_validate({"folder": str(folder), "max_tokens": 64, **settings})
    return open_scorer(read_given(QualityModelParameters(transformers=parameters)))


def reference(folder: Path, text: str) -> list[float]:
    """Logits of one text."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(**tokenizer(text, truncation=True, max_length=64, return_tensors="pt")).logits[0].tolist()


def test_scores_are_the_probability_of_the_label(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "bert", ["ordinary", "good", "odd"])
    scores = scorer(folder, label="good", batch=3).score(column(TEXTS, 1, 1))
    for text, score in zip(TEXTS, scores, strict=True):
        powers = np.exp(reference(folder, text))
        assert score == pytest.approx(powers[1] / powers.sum(), abs=1e-5)
    assert len(set(scores.tolist())) > 3
    one = scorer(folder, label="good", batch=3)
    with ThreadPoolExecutor(4) as pool:
        assert all((each == scores).all() for each in pool.map(lambda _: one.score(column(TEXTS)), range(8)))
    assert scorer(folder, label="good", batch=1).score(column(TEXTS)) == pytest.approx(scores, abs=1e-5)


def test_one_number_is_a_share_of_the_maximum(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "bert", ["score"])
    scores = scorer(folder, maximum=2.5).score(column(TEXTS))
    wanted = [min(max(reference(folder, text)[0] / 2.5, 0), 1) for text in TEXTS]
    assert scores == pytest.approx(wanted, abs=1e-5)


def test_what_is_kept_is_what_the_library_needs(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "bert", ["ordinary", "good"])
    parameters = TransformersParameters(folder=str(folder), label="good")
    model = read_given(QualityModelParameters(transformers=parameters))
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(model.files)
    assert "training.py" not in model.files and "folder" not in model.settings


@pytest.mark.parametrize(
    ("labels", "settings", "why"),
    [
        (["a", "b"], {"label": "good"}, "no label 'good'; it has: a, b"),
        (["a", "b"], {"maximum": 5}, "say which `label` is the good one; there are: a, b"),
        (["score"], {"label": "good"}, "one number, no probability"),
        (["a", "b"], {"label": "a", "max_tokens": 512}, "`max_tokens` is 512, but the model takes at most 64"),
    ],
)
def test_settings_that_do_not_fit_the_model(
    tmp_path: Path, labels: list[str], settings: dict[str, Any], why: str
) -> None:
    with pytest.raises(QualityModelError, match=why):
        scorer(write_bert(tmp_path / "bert", labels), **settings)


def test_a_model_that_was_never_trained_to_classify(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "bert", ["a", "b"])
    import transformers

    body = transformers.AutoModelForSequenceClassification.from_pretrained(folder).bert
    body.save_pretrained(folder)
    with pytest.raises(QualityModelError, match=r"no weights for classifier\.bias"):
        scorer(folder, label="LABEL_0")


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "bert", ["a", "b"])
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(QualityModelError, match="cannot be used"):
        scorer(folder, label="a")
    (folder / "config.json").write_text('{"model_type": "no such type"}')
    with pytest.raises(QualityModelError, match="cannot be used"):
        scorer(folder, label="a")


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModuleNotFoundError, match=r"llm-assets\[transformers\]"):
        open_scorer(FrozenModel(ModelKind.TRANSFORMERS, {}, {}))
