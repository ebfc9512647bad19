"""The component `CorpusSource`: one source and its chain of assets, fed by what lands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from pydantic import ConfigDict, Field
from typing_extensions import override

from llm_assets.components.attributes import Nested
from llm_assets.components.landing import landing_sensor
from llm_assets.components.scaffolding import corpus_source_scaffolder
from llm_assets.components.source import Place, Source
from llm_assets.project import Project
from llm_assets.stages.clean.checks import CleanLimits
from llm_assets.stages.clean.link import CleanedLink
from llm_assets.stages.clean.parameters import CleanParameters
from llm_assets.stages.dedup.link import DedupedLink, DedupLimits
from llm_assets.stages.dedup.parameters import DedupParameters
from llm_assets.stages.pack.link import PackedLink
from llm_assets.stages.pack.plan import PackParameters
from llm_assets.stages.read.link import RawLink, ReadLimits
from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.stages.tokenize.link import TokenizedLink


class SourceChecks(ReadLimits, CleanLimits, DedupLimits):
    """Limits of a source's checks: rates are shares of its records or documents."""

    model_config = ConfigDict(extra="forbid")


@dg.scaffold_with(corpus_source_scaffolder)
class CorpusSource(Source):
    """A source of documents of one kind: landed snapshots, read, cleaned, deduplicated, tokenized and packed."""

    tokenizer: str = Field(description="Name of the tokenizer.")
    pack: Nested[PackParameters] = Field(description="Rows: `sequence_length`, `seed`.")
    landing: str | None = Field(
        default=None, description="Folder (path or URI) in which `<name>/<snapshot>/` arrive; default: the store's."
    )
    landing_links: bool = Field(default=False, description="Whether links may lead out of the landing folder.")
    read: Nested[ReadParameters] = Field(
        default_factory=ReadParameters, description="Which fields make text, id and metadata, and what files hold."
    )
    clean: Nested[CleanParameters] = Field(
        default_factory=CleanParameters, description="How text is normalised, and the rules it has to pass."
    )
    dedup: Nested[DedupParameters] = Field(
        default_factory=DedupParameters, description="What counts as a copy of an earlier document."
    )
    checks: Nested[SourceChecks] = Field(default_factory=SourceChecks, description="Limits of the checks, as shares.")

    @property
    @override
    def built_in(self) -> Sequence[Place]:
        return (
            Place.of(RawLink, self.read),
            Place.of(CleanedLink, self.clean),
            Place.of(DedupedLink, self.dedup),
            Place.of(TokenizedLink, self.tokenizer),
            Place.of(PackedLink, self.pack),
        )

    @property
    @override
    def limits(self) -> Mapping[str, Any]:
        return self.checks.model_dump()

    @property
    @override
    def landing_folder(self) -> str | None:
        return self.landing

    @property
    @override
    def follows_landing_links(self) -> bool:
        return self.landing_links

    @override
    def sensors(self, project: Project) -> Sequence[dg.SensorDefinition]:
        return [landing_sensor(project.link(self.rows_asset))]
