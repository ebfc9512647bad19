"""The component `QualityModel`: one classifier of good documents, trained or taken from files, then frozen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import dagster as dg
from pydantic import Field
from typing_extensions import override

from llm_assets.components.attributes import Nested
from llm_assets.components.declared import Declarations, Declared
from llm_assets.components.scaffolding import quality_model_scaffolder
from llm_assets.components.source import Source
from llm_assets.project import Maker
from llm_assets.stages.clean.quality.link import QualityModelLink
from llm_assets.stages.clean.quality.parameters import (
    FileParameters,
    QualityModelParameters,
    QualityTrainParameters,
    TransformersParameters,
)

_ORIGINS = ("train", "file", "transformers")


@dg.scaffold_with(quality_model_scaffolder)
class QualityModel(Declared):
    """A quality model: a classifier trained on two sources, or a fastText or transformers model. Made once."""

    train: Nested[QualityTrainParameters | None] = Field(
        default=None, description="Train fastText to tell the source `good` from the source `ordinary`."
    )
    file: Nested[FileParameters | None] = Field(
        default=None, description="A fastText model to take instead: `path` or URI, and the good `label`."
    )
    transformers: Nested[TransformersParameters | None] = Field(
        default=None, description="A transformers sequence classifier to take instead: `folder`, and the good `label`."
    )
    min_accuracy: float = Field(
        default=0.7, ge=0, le=1, description="Under it, on held-out documents, a trained model is not committed."
    )

    noun: ClassVar[str] = QualityModelLink.noun

    @override
    def makers(self, declarations: Declarations) -> Mapping[str, Maker]:
        return {QualityModelLink.key(self.name): lambda: self._make(declarations)}

    def _make(self, declarations: Declarations) -> QualityModelLink:
        given = [origin for origin in _ORIGINS if getattr(self, origin) is not None]
        if len(given) != 1:
            there = f"there are {', '.join(given)}" if given else "there is none"
            self.refuse(given[-1] if given else "name", f"give exactly one of {', '.join(_ORIGINS)}: {there}")
        parameters = QualityModelParameters(train=self.train, file=self.file, transformers=self.transformers)
        if parameters.train is None:
            return QualityModelLink(self.name, parameters, min_accuracy=self.min_accuracy)
        named = {field: getattr(parameters.train, field) for field in ("good", "ordinary")}
        sources = [declarations.component(Source, name, self, f"train.{field}") for field, name in named.items()]
        documents = tuple(declarations.project.documents(source.raw_asset) for source in sources)
        return QualityModelLink(self.name, parameters, documents, self.min_accuracy)
