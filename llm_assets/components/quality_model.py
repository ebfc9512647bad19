"""The component `QualityModel`: one classifier of good documents, trained or taken from files, then frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from llm_assets.components.attributes import Nested
from llm_assets.components.declared import MODELS, Declared, Name, declared, listed
from llm_assets.components.scaffolding import quality_model_scaffolder
from llm_assets.components.stage_asset import MADE_ONCE, AssetFacts, asset_key, link_asset
from llm_assets.stages.clean.quality.link import QualityModelLink
from llm_assets.stages.clean.quality.parameters import (
    FileParameters,
    QualityModelParameters,
    TrainParameters,
    TransformersParameters,
)

if TYPE_CHECKING:
    from llm_assets.components.corpus_source import CorpusSource

_ORIGINS = ("train", "file", "transformers")


@dg.scaffold_with(quality_model_scaffolder)
class QualityModel(Declared):
    """A quality model: a classifier trained on two sources, or a fastText or transformers model. Made once."""

    name: Name = Field(description="Name of the model. Other scores need another name.")
    train: Nested[TrainParameters | None] = Field(
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
    description: str = Field(default="", description="What the model is for.")
    owners: list[str] = Field(default_factory=list, description="E-mail addresses, or `team:…`.")
    tags: dict[str, str] = Field(default_factory=dict, description="Tags of the asset, to search by.")

    def link(self, context: dg.ComponentLoadContext) -> QualityModelLink:
        """The link to `models/<name>`."""
        given = [origin for origin in _ORIGINS if getattr(self, origin) is not None]
        if len(given) != 1:
            there = f"there are {', '.join(given)}" if given else "there is none"
            self.refuse(given[-1] if given else "name", f"give exactly one of {', '.join(_ORIGINS)}: {there}")
        parameters = QualityModelParameters(train=self.train, file=self.file, transformers=self.transformers)
        if parameters.train is None:
            return QualityModelLink(self.name, parameters, min_accuracy=self.min_accuracy)
        sources = tuple(self._source(context, field).raw_link for field in ("good", "ordinary"))
        return QualityModelLink(self.name, parameters, sources, self.min_accuracy)

    def _source(self, context: dg.ComponentLoadContext, field: str) -> CorpusSource:
        # a source is cleaned with models that are trained on sources, so one import has to wait
        from llm_assets.components.corpus_source import CorpusSource

        name, sources = getattr(self.train, field), declared(context, CorpusSource)
        if name not in sources:
            self.refuse(f"train.{field}", f"no source {name!r} is declared; there are: {listed(sources)}")
        return sources[name]

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The asset of the model and its checks."""
        link = self.link(context)
        everything = dg.AllPartitionMapping()
        facts = AssetFacts(
            group=MODELS,
            description=f"A classifier of good documents, frozen once made.\n\n{self.description}".strip(),
            kinds=frozenset({"huggingface" if self.transformers else "fasttext"}),
            owners=self.owners,
            tags=self.tags,
            deps=[dg.AssetDep(asset_key(source.asset), partition_mapping=everything) for source in link.sources],
            automation=MADE_ONCE,
        )
        return dg.Definitions(assets=[link_asset(link, facts)])
