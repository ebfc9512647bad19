"""The component `Tokenizer`: one tokenizer, trained on sources or taken from a file, then frozen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import dagster as dg
from pydantic import Field
from typing_extensions import override

from llm_assets.components.attributes import Nested
from llm_assets.components.declared import Declarations, Declared
from llm_assets.components.scaffolding import tokenizer_scaffolder
from llm_assets.components.source import Source
from llm_assets.project import Maker
from llm_assets.stages.tokenizer.link import TokenizerLink, TokenizerParameters, TokenizerTrainParameters


@dg.scaffold_with(tokenizer_scaffolder)
class Tokenizer(Declared):
    """A tokenizer: byte-level BPE trained on sources, or a `tokenizer.json` from a path or URI. Made once."""

    train: Nested[TokenizerTrainParameters | None] = Field(
        default=None, description="Train on `sources`: `vocabulary_size`, `max_bytes`."
    )
    path: str | None = Field(default=None, description="Path or URI of a `tokenizer.json` to take instead.")
    end_of_document: str = Field(default="<|endoftext|>", min_length=1, description="Token after each document.")

    noun: ClassVar[str] = TokenizerLink.noun

    @override
    def makers(self, declarations: Declarations) -> Mapping[str, Maker]:
        return {TokenizerLink.key(self.name): lambda: self._make(declarations)}

    def _make(self, declarations: Declarations) -> TokenizerLink:
        if (self.train is None) == (self.path is None):
            self.refuse("path", "give either `train` or `path`, and not both")
        names = self.train.sources if self.train else ()
        sources = [declarations.component(Source, name, self, "train.sources") for name in names]
        documents = tuple(declarations.project.documents(source.documents_asset) for source in sources)
        parameters = TokenizerParameters(train=self.train, path=self.path, end_of_document=self.end_of_document)
        return TokenizerLink(self.name, parameters, documents)
