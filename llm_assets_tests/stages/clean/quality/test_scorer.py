"""Given models are read as they are, and what cannot be scored with is refused with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm_assets.stages.clean.quality.contract import QualityModelError
from llm_assets.stages.clean.quality.link import read_given
from llm_assets.stages.clean.quality.parameters import FileParameters, QualityModelParameters, TransformersParameters
from llm_assets.stages.clean.quality.scorer import open_scorer
from llm_assets.store.frozen_model import FrozenModel
from llm_assets_tests.stages.clean.language.model_files import HIERARCHICAL, SOFTMAX, ModelFile
from llm_assets_tests.stages.clean.odd_text import column

TEXTS = column(["the of", "", "naïve 日本"])


def given(path: Path, label: str = "1", **changes: Any) -> FrozenModel:
    file = ModelFile(**{"loss": SOFTMAX, "labels": 2, "shortest": 0, "longest": 0, "word_ngrams": 2, **changes})
    path.write_bytes(file.encode())
    return read_given(QualityModelParameters(file=FileParameters(path=str(path), label=label)))


def test_the_labels_of_a_file_share_the_probability(tmp_path: Path) -> None:
    first, second = (open_scorer(given(tmp_path / "m.bin", label)) for label in ("0", "__label__1"))
    assert first.score(TEXTS) + second.score(TEXTS) == pytest.approx(np.ones(3))
    assert first.digest != second.digest and first.score(TEXTS).dtype == np.float64


def test_a_score_does_not_feel_its_neighbours(tmp_path: Path) -> None:
    scorer = open_scorer(given(tmp_path / "m.bin"))
    alone = [float(scorer.score(TEXTS.slice(place, 1))[0]) for place in range(3)]
    assert scorer.score(TEXTS).tolist() == alone


def test_nothing_to_score(tmp_path: Path) -> None:
    assert len(open_scorer(given(tmp_path / "m.bin")).score(column([]))) == 0


def test_another_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(QualityModelError, match="no label 'hq'; it has: 0, 1"):
        open_scorer(given(tmp_path / "m.bin", "hq"))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(QualityModelError, match="cannot be used: its loss is hierarchical"):
        open_scorer(given(tmp_path / "m.bin", loss=HIERARCHICAL))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = str(tmp_path / "none.bin")
    with pytest.raises(QualityModelError, match=r"none\.bin cannot be read"):
        read_given(QualityModelParameters(file=FileParameters(path=path, label="x")))


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle, which is code")
    with pytest.raises(QualityModelError, match=r"no transformers folder: it needs config.json and weights"):
        read_given(QualityModelParameters(transformers=TransformersParameters(folder=str(tmp_path), label="x")))


def test_parameters_say_one_origin_and_one_meaning() -> None:
    with pytest.raises(ValueError, match="exactly one of `train`, `file` and `transformers`"):
        QualityModelParameters()
    for meaning in ({}, {"label": "good", "maximum": 5}):
        with pytest.raises(ValueError, match="either `label`"):
            TransformersParameters.model_validate({"folder": "x", **meaning})
