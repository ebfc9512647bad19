"""The component `Mixture`: shares of sources, made into versions of a training set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, cast

import dagster as dg
from pydantic import Field, ValidationError
from typing_extensions import override

from llm_assets.components.attributes import FieldPath, Nested
from llm_assets.components.declared import Declarations, Declared, listed
from llm_assets.components.landing import versions_sensor
from llm_assets.components.scaffolding import mixture_scaffolder
from llm_assets.components.source import Source
from llm_assets.project import Maker, Project
from llm_assets.stages.mix.link import MixedLink
from llm_assets.stages.mix.recipe import HeldOutParameters, MixParameters, Phase
from llm_assets.stages.pack.link import PackedLink
from llm_assets.stages.smoke_train.link import SmokeTrainLink, SmokeTrainParameters

TAG = "tag:"
Shares = Mapping[str, float] | None
Names = Sequence[str] | None


@dg.scaffold_with(mixture_scaffolder)
class Mixture(Declared):
    """A training set: exact shares of sources in a seeded global order. A version is made when sources change."""

    shares: dict[str, float] | None = Field(
        default=None,
        description="Source, or `tag:key=value` for all sources with that tag, to its part; only proportions count.",
    )
    sources: list[str] | None = Field(
        default=None, description="Instead of `shares`: sources (or tags) whose parts follow from their sizes."
    )
    within: dict[str, dict[str, float]] = Field(
        default_factory=dict, description="Of a tag, how its share is divided among its sources; default: by size."
    )
    temperature: float = Field(
        default=1.0, description="T: where parts follow from sizes, a source of n rows has n^(1/T) of them."
    )
    seed: int | None = Field(
        default=None, description="Of the order of rows within the sources; default: 0, or that of what is continued."
    )
    max_repetitions: float = Field(default=1.0, description="How often a source's rows may be used at most.")
    max_repetitions_by_source: dict[str, float] = Field(
        default_factory=dict, description="The same for single sources."
    )
    total_rows: int | None = Field(default=None, description="Rows; default: as many as shares and repetitions allow.")
    total_tokens: int | None = Field(default=None, description="The length in tokens instead.")
    epochs: float | None = Field(default=None, description="The length instead as a multiple of all rows there are.")
    phases: Nested[tuple[Phase, ...]] = Field(
        default=(), description="Consecutive ranges with shares of their own: `name`, and `rows`, `tokens`, `fraction`."
    )
    held_out: Nested[HeldOutParameters | None] = Field(
        default=None, description="Rows of each source kept for validation: `rows` or `tokens`, `by_source`."
    )
    snapshots: dict[str, list[str]] = Field(
        default_factory=dict, description="Source to the snapshots to take; default: all that are up to date."
    )
    continues: str | None = Field(
        default=None,
        description="`mixture@version` that was trained on: what it used up before `from_row` is left out.",
    )
    from_row: int | None = Field(default=None, description="Rows of that version that were trained on.")
    smoke_train: Nested[SmokeTrainParameters | None] = Field(
        default=None,
        description="Train a small model on every version, to see that it learns: `{}`, or `{steps: 200, …}`.",
    )

    noun: ClassVar[str] = "mixture"

    @property
    def asset(self) -> str:
        """The asset of the mixture itself."""
        return f"{self.name}/{MixedLink.stage_name}"

    @override
    def makers(self, declarations: Declarations) -> Mapping[str, Maker]:
        made: dict[str, Maker] = {self.asset: lambda: self._mixed(declarations)}
        if (parameters := self.smoke_train) is not None:
            made[f"{self.name}/{SmokeTrainLink.stage_name}"] = lambda: SmokeTrainLink(
                cast(MixedLink, declarations.project.link(self.asset)), parameters
            )
        return made

    @override
    def sensors(self, project: Project) -> Sequence[dg.SensorDefinition]:
        return [versions_sensor(cast(MixedLink, project.link(self.asset)))]

    def _mixed(self, declarations: Declarations) -> MixedLink:
        sources = declarations.named(Source)
        parameters = self._parameters(sources)
        packed = [declarations.project.link(sources[name].rows_asset) for name in parameters.source_names]
        links = [cast(PackedLink, link) for link in packed]
        self._of_one_kind(links)
        continued = declarations.named(Mixture).get(parameters.continued[0]) if parameters.continued else None
        if continued is None or continued.name == self.name:
            return MixedLink(self.name, tuple(links), parameters)
        before = cast(MixedLink, declarations.project.link(continued.asset))
        return MixedLink(self.name, tuple(links), parameters, before)

    def _parameters(self, sources: Mapping[str, Source]) -> MixParameters:
        fields = {name: getattr(self, name) for name in MixParameters.model_fields if name != "groups"}
        try:
            return MixParameters.model_validate(fields | {"groups": self._groups(sources)})
        except ValidationError as error:
            problem = error.errors()[0]
            if problem["loc"]:
                self.refuse_invalid(error)
            field, _, why = problem["msg"].removeprefix("Value error, ").partition(": ")
            self.refuse(field, why)

    def _groups(self, sources: Mapping[str, Source]) -> dict[str, tuple[str, ...]]:
        """The sources of every tag that has a share. Refuses terms that are neither a source nor a tag of one."""
        groups: dict[str, tuple[str, ...]] = {}
        for field, term in self._terms():
            if not term.startswith(TAG):
                if term not in sources:
                    self.refuse(field, f"no source {term!r} is declared; there are: {listed(sources)}")
                continue
            key, equals, value = term.removeprefix(TAG).partition("=")
            if not (key and equals):
                self.refuse(field, f"{term!r} is no tag: write tag:key=value")
            groups[term] = tuple(name for name, source in sources.items() if source.tags.get(key) == value)
            if not groups[term]:
                tags = {f"{key}={value}" for source in sources.values() for key, value in source.tags.items()}
                self.refuse(field, f"no source has the tag {key}={value}; there are: {listed(tags)}")
        return groups

    def _terms(self) -> Iterator[tuple[FieldPath, str]]:
        """The sources and tags that have a share, with the field that gives it."""
        whole: tuple[FieldPath, Shares, Names] = ((), self.shares, self.sources)
        phases: list[tuple[FieldPath, Shares, Names]] = [
            (("phases", number), phase.shares, phase.sources) for number, phase in enumerate(self.phases)
        ]
        for place, shares, names in [whole, *phases]:
            yield from (((*place, "shares", name), name) for name in shares or ())
            yield from (((*place, "sources", number), name) for number, name in enumerate(names or ()))

    def _of_one_kind(self, links: Sequence[PackedLink]) -> None:
        kinds: dict[tuple[int, str], list[str]] = {}
        for link in links:
            kinds.setdefault((link.parameters.sequence_length, link.tokenized.tokenizer.name), []).append(link.source)
        if len(kinds) > 1:
            described = "; ".join(
                f"{length} tokens of {tokenizer} ({', '.join(names)})"
                for (length, tokenizer), names in sorted(kinds.items())
            )
            field = "shares" if self.shares else "sources" if self.sources else "phases"
            self.refuse(field, f"all sources must have rows of one kind, but these have: {described}")
