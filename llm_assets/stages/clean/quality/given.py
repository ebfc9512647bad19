"""Models that a user gives: which files the library of each needs, and what they make together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from llm_assets.stages.clean.quality.contract import QualityModelError
from llm_assets.stages.clean.quality.parameters import FileParameters, TransformersParameters
from llm_assets.stages.clean.quality.scorer import FASTTEXT_FILE
from llm_assets.store.frozen_model import FrozenModel, ModelKind

_CONFIG: Final = "config.json"
_WEIGHTS: Final = ".safetensors"
_SUFFIXES: Final = frozenset({_WEIGHTS, ".json", ".txt", ".model"})
"""Weights without code, configuration, and the vocabularies of tokenizers."""


def fasttext_model(given: FileParameters, content: bytes) -> FrozenModel:
    """The model in a file of that content."""
    return FrozenModel(ModelKind.FASTTEXT, {"label": given.label}, {FASTTEXT_FILE: content})


def is_needed(name: str) -> bool:
    """Whether a file in a folder that `save_pretrained` wrote belongs to the model."""
    return PurePosixPath(name).suffix in _SUFFIXES


def transformers_model(given: TransformersParameters, files: Mapping[str, bytes]) -> FrozenModel:
    """The model of the needed files of a folder, by name. Raises QualityModelError where they are no model."""
    if _CONFIG not in files or not any(name.endswith(_WEIGHTS) for name in files):
        raise QualityModelError(
            f"{given.folder} is no transformers folder: it needs {_CONFIG} and weights as *{_WEIGHTS} "
            "(`save_pretrained` of the model and of its tokenizer writes them)"
        )
    return FrozenModel(ModelKind.TRANSFORMERS, given.model_dump(mode="json", exclude={"folder"}), files)
