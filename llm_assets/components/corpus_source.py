"""The component `CorpusSource`: one source and its chain of five assets, fed by what lands."""

from __future__ import annotations

from dataclasses import fields

import dagster as dg
from pydantic import Field

from llm_assets.components.attributes import Nested
from llm_assets.components.declared import Declared, Name, declared, listed
from llm_assets.components.landing import landing_sensor
from llm_assets.components.quality_model import QualityModel
from llm_assets.components.scaffolding import corpus_source_scaffolder
from llm_assets.components.stage_asset import AnyLink, AssetFacts, asset_key, link_asset
from llm_assets.components.tokenizer import Tokenizer
from llm_assets.stages.clean.checks import CleanLimits
from llm_assets.stages.clean.link import CleanedLink
from llm_assets.stages.clean.parameters import CleanParameters
from llm_assets.stages.clean.quality.link import QualityModelLink
from llm_assets.stages.dedup.exact import DedupParameters
from llm_assets.stages.dedup.link import DedupedLink
from llm_assets.stages.pack.link import PackedLink
from llm_assets.stages.pack.plan import PackParameters
from llm_assets.stages.read.link import RawLink
from llm_assets.stages.read.stage import ReadParameters
from llm_assets.stages.tokenize.link import TokenizedLink


class SourceChecks(dg.Model, dg.Resolvable):
    """Limits of a source's checks: rates are shares of its records or documents."""

    max_quarantine_rate: float = Field(default=0.05, ge=0, le=1, description="Over it, `raw` is not committed.")
    max_processing_error_rate: float = Field(default=0, ge=0, le=1, description="Over it, `cleaned` is not committed.")
    max_drop_rate: float = Field(default=0.5, ge=0, le=1, description="Over it, `cleaned` warns.")
    max_pii_rate: float = Field(default=0.01, ge=0, le=1, description="Documents with PII; over it, `cleaned` warns.")
    max_language_shift: float = Field(
        default=0.25, ge=0, description="Population stability index of the mix of languages; over it, `cleaned` warns."
    )
    max_statistics_shift: float = Field(
        default=0.25, ge=0, description="Population stability index of each statistic; over it, `cleaned` warns."
    )
    max_outlier_rate: float = Field(
        default=0.02, ge=0, le=1, description="Documents beyond 99.8 % of those before; over it, `cleaned` warns."
    )
    max_duplicate_rate: float = Field(default=0.5, ge=0, le=1, description="Over it, `deduped` warns.")


@dg.scaffold_with(corpus_source_scaffolder)
class CorpusSource(Declared):
    """A source of documents of one kind: landed snapshots, read, cleaned, deduplicated, tokenized and packed."""

    name: Name = Field(description="Name of the source, and of its group of assets.")
    tokenizer: str = Field(description="Name of the tokenizer.")
    pack: Nested[PackParameters] = Field(description="Rows: `sequence_length`, `seed`.")
    landing: str | None = Field(
        default=None, description="Folder (path or URI) in which `<name>/<snapshot>/` arrive; default: the store's."
    )
    description: str = Field(default="", description="What the source is.")
    owners: list[str] = Field(default_factory=list, description="E-mail addresses, or `team:…`.")
    tags: dict[str, str] = Field(default_factory=dict, description="Tags of the assets, to search by.")
    read: Nested[ReadParameters] = Field(
        default_factory=ReadParameters, description="Fields of a record: `text_field`, `id_field`."
    )
    clean: Nested[CleanParameters] = Field(
        default_factory=CleanParameters, description="How text is normalised, and the rules it has to pass."
    )
    dedup: Nested[DedupParameters] = Field(
        default_factory=DedupParameters, description="What counts as a copy of an earlier document."
    )
    checks: SourceChecks = Field(default_factory=SourceChecks, description="Limits of the checks, as shares.")

    @property
    def partitions(self) -> dg.DynamicPartitionsDefinition:
        """The source's snapshots."""
        return dg.DynamicPartitionsDefinition(name=f"{self.name}/snapshots")

    @property
    def raw_link(self) -> RawLink:
        """The link to `raw`."""
        return RawLink(self.name, self.read, self.landing, self.checks.max_quarantine_rate)

    def deduped_link(self, context: dg.ComponentLoadContext) -> DedupedLink:
        """The link to `deduped`, with those before it."""
        limits = CleanLimits(**{each.name: getattr(self.checks, each.name) for each in fields(CleanLimits)})
        cleaned = CleanedLink(self.name, self.raw_link, self.clean, limits, self._models(context))
        return DedupedLink(self.name, cleaned, self.dedup, self.checks.max_duplicate_rate)

    def _models(self, context: dg.ComponentLoadContext) -> tuple[QualityModelLink, ...]:
        """The links to the models that score the documents."""
        models = declared(context, QualityModel)
        for place, each in enumerate(self.clean.quality):
            if each.model not in models:
                why = f"no quality model {each.model!r} is declared; there are: {listed(models)}"
                self.refuse(f"clean.quality.{place}.model", why)
        return tuple(models[each.model].link(context) for each in self.clean.quality)

    def packed_link(self, context: dg.ComponentLoadContext) -> PackedLink:
        """The link to `packed`, with all those before it."""
        tokenizers = declared(context, Tokenizer)
        if self.tokenizer not in tokenizers:
            known = listed(tokenizers)
            self.refuse("tokenizer", f"no tokenizer {self.tokenizer!r} is declared; there are: {known}")
        tokenizer = tokenizers[self.tokenizer].link(context)
        return PackedLink(self.name, TokenizedLink(self.name, self.deduped_link(context), tokenizer), self.pack)

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The five assets of the source, their checks, and the sensor that watches its landing folder."""
        packed = self.packed_link(context)
        tokenized, deduped = packed.tokenized, packed.tokenized.deduped
        cleaned, raw = deduped.cleaned, deduped.cleaned.raw
        models = [dg.AssetDep(asset_key(model.asset)) for model in cleaned.models]
        assets = [
            self._asset(raw, None, {"parquet", "deltalake"}, "Every record that landed, read or in quarantine."),
            self._asset(cleaned, raw, {"parquet", "deltalake"}, "Documents that passed; the others with why.", *models),
            self._asset(deduped, cleaned, {"polars", "deltalake"}, "Documents that are no copy of an earlier one."),
            self._asset(tokenized, deduped, {"huggingface", "arrow"}, "Token ids of documents.", self._tokenizer_dep),
            self._asset(packed, tokenized, {"numpy", "arrow"}, "Rows of one length, each traceable to its documents."),
        ]
        return dg.Definitions(assets=assets, sensors=[landing_sensor(packed, self.partitions)])

    @property
    def _tokenizer_dep(self) -> dg.AssetDep:
        return dg.AssetDep(asset_key(f"tokenizers/{self.tokenizer}"))

    def _asset(
        self, link: AnyLink, upstream: AnyLink | None, kinds: set[str], what: str, *further: dg.AssetDep
    ) -> dg.AssetsDefinition:
        deps = [] if upstream is None else [dg.AssetDep(asset_key(upstream.asset))]
        return link_asset(
            link,
            AssetFacts(
                group=self.name,
                description=f"{what}\n\n{self.description}".strip(),
                kinds=frozenset(kinds),
                owners=self.owners,
                tags=self.tags,
                deps=[*deps, *further],
                partitions=self.partitions,
                automation=dg.AutomationCondition.eager() if upstream else None,
            ),
        )
