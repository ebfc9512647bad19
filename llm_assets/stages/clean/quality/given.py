"""Models that a user gives, read from where they are: the files that the library of each needs, and no others."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

from llm_assets.stages.clean.quality.contract import QualityModelError
from llm_assets.stages.clean.quality.parameters import FileParameters, QualityModelParameters, TransformersParameters
from llm_assets.stages.clean.quality.scorer import FASTTEXT_FILE
from llm_assets.store.folder import Folder, read_uri
from llm_assets.store.models import FrozenModel, ModelKind

_CONFIG: Final = "config.json"
_WEIGHTS: Final = ".safetensors"
_SUFFIXES: Final = frozenset({_WEIGHTS, ".json", ".txt", ".model"})
"""Weights without code, configuration, and the vocabularies of tokenizers."""


def read_given(parameters: QualityModelParameters) -> FrozenModel:
    """The model that `file` or `transformers` names. Raises QualityModelError where it cannot be read."""
    if parameters.file is not None:
        return _read_file(parameters.file)
    if parameters.transformers is not None:
        return _read_folder(parameters.transformers)
    raise QualityModelError("these parameters give no model: they train one")


def _read_file(given: FileParameters) -> FrozenModel:
    try:
        content = read_uri(given.path)
    except (OSError, ValueError) as error:
        raise QualityModelError(f"{given.path} cannot be read as a fastText model: {error}") from error
    return FrozenModel(ModelKind.FASTTEXT, {"label": given.label}, {FASTTEXT_FILE: content})


def _read_folder(given: TransformersParameters) -> FrozenModel:
    folder = Folder(given.folder)
    names = [name for name in folder.names() if PurePosixPath(name).suffix in _SUFFIXES]
    if _CONFIG not in names or not any(name.endswith(_WEIGHTS) for name in names):
        raise QualityModelError(
            f"{given.folder} is no transformers folder: it needs {_CONFIG} and weights as *{_WEIGHTS} "
            "(`save_pretrained` of the model and of its tokenizer writes them)"
        )
    try:
        files = {name: folder.read(name) for name in names}
    except OSError as error:
        raise QualityModelError(f"{given.folder} cannot be read: {error}") from error
    return FrozenModel(ModelKind.TRANSFORMERS, given.model_dump(mode="json", exclude={"folder"}), files)
