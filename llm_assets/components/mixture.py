"""The component `Mixture`: shares of sources, made into versions of a training set."""

from __future__ import annotations

import dagster as dg
from pydantic import Field, ValidationError

from llm_assets.chain.mixed import MixedLink
from llm_assets.chain.packed import PackedLink
from llm_assets.chain.smoke_train import SmokeTrainLink, SmokeTrainParameters
from llm_assets.components.attributes import Nested
from llm_assets.components.corpus_source import CorpusSource
from llm_assets.components.declared import Declared, Name, declared, listed
from llm_assets.components.landing import versions_sensor
from llm_assets.components.scaffolding import mixture_scaffolder
from llm_assets.components.stage_asset import AssetFacts, asset_key, link_asset
from llm_assets.stages.mix.plan import MixParameters


@dg.scaffold_with(mixture_scaffolder)
class Mixture(Declared):
    """A training set: exact shares of sources in a seeded global order. A version is made when sources change."""

    name: Name = Field(description="Name of the mixture, and of its group of assets.")
    shares: dict[str, float] = Field(description="Source to its part of the rows; only proportions count.")
    seed: int = Field(default=0, description="Of the order of rows within the sources.")
    max_repetitions: float = Field(default=1.0, description="How often a source's rows may be used at most.")
    total_rows: int | None = Field(default=None, description="Rows; default: as many as shares and repetitions allow.")
    smoke_train: Nested[SmokeTrainParameters | None] = Field(
        default=None,
        description="Train a small model on every version, to see that it learns: `{}`, or `{steps: 200, …}`.",
    )
    description: str = Field(default="", description="What is trained from the mixture.")
    owners: list[str] = Field(default_factory=list, description="E-mail addresses, or `team:…`.")
    tags: dict[str, str] = Field(default_factory=dict, description="Tags of the asset, to search by.")

    @property
    def partitions(self) -> dg.DynamicPartitionsDefinition:
        """The mixture's versions."""
        return dg.DynamicPartitionsDefinition(name=f"{self.name}/versions")

    def _parameters(self) -> MixParameters:
        try:
            return MixParameters(
                shares=self.shares,
                seed=self.seed,
                max_repetitions=self.max_repetitions,
                total_rows=self.total_rows,
            )
        except ValidationError as error:
            self.refuse_invalid(error)

    def _sources(self, context: dg.ComponentLoadContext) -> list[PackedLink]:
        sources = declared(context, CorpusSource)
        links: list[PackedLink] = []
        for name in self.shares:
            if name not in sources:
                why = f"no source {name!r} is declared; there are: {listed(sources)}"
                self.refuse(f"shares.{name}", why)
            links.append(sources[name].packed_link(context))
        kinds = {(link.parameters.sequence_length, link.tokenized.tokenizer.name) for link in links}
        if len(kinds) > 1:
            described = ", ".join(f"{length} tokens of {tokenizer}" for length, tokenizer in sorted(kinds))
            self.refuse("shares", f"all sources must have rows of one kind, but these have: {described}")
        return links

    def link(self, context: dg.ComponentLoadContext) -> MixedLink:
        """The link to `<mixture>/mixed`. Raises DeclarationError."""
        parameters = self._parameters()
        return MixedLink(self.name, tuple(self._sources(context)), parameters)

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The asset of the mixture, its checks, and the sensor that makes new versions."""
        link = self.link(context)
        everything = dg.AllPartitionMapping()
        facts = AssetFacts(
            group=self.name,
            description=f"The training set, rows in training order.\n\n{self.description}".strip(),
            kinds=frozenset({"numpy", "arrow"}),
            owners=self.owners,
            tags=self.tags,
            deps=[dg.AssetDep(asset_key(source.asset), partition_mapping=everything) for source in link.sources],
            partitions=self.partitions,
        )
        assets = [link_asset(link, facts)]
        smoke_train = self.smoke_train_link(context)
        if smoke_train is not None:
            assets.append(self._smoke_train_asset(smoke_train))
        return dg.Definitions(assets=assets, sensors=[versions_sensor(link, self.partitions)])

    def smoke_train_link(self, context: dg.ComponentLoadContext) -> SmokeTrainLink | None:
        """The link to `<mixture>/smoke_train`; None where that is not asked for. Raises DeclarationError."""
        return None if self.smoke_train is None else SmokeTrainLink(self.link(context), self.smoke_train)

    def _smoke_train_asset(self, link: SmokeTrainLink) -> dg.AssetsDefinition:
        facts = AssetFacts(
            group=self.name,
            description="Whether a small model learns from a version of the mixture; it keeps no version back.",
            kinds=frozenset({"pytorch"}),
            owners=self.owners,
            tags=self.tags,
            deps=[dg.AssetDep(asset_key(link.mixed.asset))],
            partitions=self.partitions,
            automation=dg.AutomationCondition.eager(),
        )
        return link_asset(link, facts)
