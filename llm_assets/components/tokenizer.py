"""The component `Tokenizer`: one tokenizer, trained on sources or taken from a file, then frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from llm_assets.components.attributes import Nested
from llm_assets.components.declared import TOKENIZERS, Declared, Name, declared, listed
from llm_assets.components.scaffolding import tokenizer_scaffolder
from llm_assets.components.stage_asset import MADE_ONCE, AssetFacts, asset_key, link_asset
from llm_assets.stages.tokenizer.link import TokenizerLink, TokenizerParameters, TrainParameters

if TYPE_CHECKING:
    from llm_assets.components.corpus_source import CorpusSource


@dg.scaffold_with(tokenizer_scaffolder)
class Tokenizer(Declared):
    """A tokenizer: byte-level BPE trained on sources, or a `tokenizer.json` from a path or URI. Made once."""

    name: Name = Field(description="Name of the tokenizer. Other ids need another name.")
    train: Nested[TrainParameters | None] = Field(
        default=None, description="Train on `sources`: `vocabulary_size`, `max_bytes`."
    )
    path: str | None = Field(default=None, description="Path or URI of a `tokenizer.json` to take instead.")
    end_of_document: str = Field(default="<|endoftext|>", min_length=1, description="Token after each document.")
    description: str = Field(default="", description="What the tokenizer is for.")
    owners: list[str] = Field(default_factory=list, description="E-mail addresses, or `team:…`.")
    tags: dict[str, str] = Field(default_factory=dict, description="Tags of the asset, to search by.")

    def link(self, context: dg.ComponentLoadContext) -> TokenizerLink:
        """The link to `tokenizers/<name>`."""
        if (self.train is None) == (self.path is None):
            self.refuse("path", "give either `train` or `path`, and not both")
        sources = [self._source(context, source) for source in (self.train.sources if self.train else ())]
        parameters = TokenizerParameters(train=self.train, path=self.path, end_of_document=self.end_of_document)
        return TokenizerLink(self.name, parameters, tuple(source.deduped_link(context) for source in sources))

    def _source(self, context: dg.ComponentLoadContext, name: str) -> CorpusSource:
        # each of the two components names the other, so one import has to wait
        from llm_assets.components.corpus_source import CorpusSource

        sources = declared(context, CorpusSource)
        if name not in sources:
            self.refuse("train.sources", f"no source {name!r} is declared; there are: {listed(sources)}")
        return sources[name]

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The asset of the tokenizer and its checks."""
        link = self.link(context)
        everything = dg.AllPartitionMapping()
        deps = [dg.AssetDep(asset_key(source.asset), partition_mapping=everything) for source in link.sources]
        facts = AssetFacts(
            group=TOKENIZERS,
            description=f"The tokenizer, frozen once made.\n\n{self.description}".strip(),
            kinds=frozenset({"huggingface"}),
            owners=self.owners,
            tags=self.tags,
            deps=deps,
            automation=MADE_ONCE,
        )
        return dg.Definitions(assets=[link_asset(link, facts)])
