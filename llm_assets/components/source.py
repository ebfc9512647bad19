"""The base of all kinds of sources: a chain of stages over the snapshots of the source.

Tokenizers, quality models and mixtures name sources of any kind. Stages of a project's own are put between those of
the kind: `stages` in the YAML.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Self, cast

from pydantic import Field
from typing_extensions import override

from llm_assets.components.attributes import Nested
from llm_assets.components.declared import Declarations, Declared, listed
from llm_assets.contract.documents import DocumentLink
from llm_assets.contract.link import Link
from llm_assets.contract.own_stage import OwnStage
from llm_assets.contract.site import Site, SourceStage
from llm_assets.project import Maker


@dataclass(frozen=True)
class Place:
    """A stage in the chain of a source: its name, whether documents come out of it, and how its link is made."""

    name: str
    has_documents: bool
    make: Callable[[Site], Link[Any]]

    @classmethod
    def of(cls, stage: type[SourceStage], parameters: object) -> Self:
        """A built-in stage, with what the declaration says in its field."""

        def make(site: Site) -> Link[Any]:
            return cast(Link[Any], stage.placed(replace(site, parameters=parameters)))

        return cls(stage.stage_name, issubclass(stage, DocumentLink), make)

    @classmethod
    def of_own(cls, stage: OwnStage) -> Self:
        """A stage of the project's own."""
        return cls(stage.stage_name, True, lambda site: stage.link(site.source, cast(DocumentLink, site.upstream)))


class Source(Declared):
    """A source of documents: snapshots, and the chain of stages that they go through."""

    noun: ClassVar[str] = "source"
    stages: Nested[tuple[OwnStage, ...]] = Field(
        default=(), description="Stages of the project's own: `use`, `after`, and their parameters."
    )

    @property
    @abstractmethod
    def built_in(self) -> Sequence[Place]:
        """The stages that every source of this kind has, first to last."""

    @property
    @abstractmethod
    def limits(self) -> Mapping[str, float]:
        """Limits of the checks, by name."""

    @property
    def landing_folder(self) -> str | None:
        """The folder above the source's own in which snapshots arrive; None where it is the store's."""
        return None

    @property
    def follows_landing_links(self) -> bool:
        """Whether links may lead out of the landing folder."""
        return False

    @property
    def chain(self) -> dict[str, Place]:
        """Every stage by asset, first to last. Raises DeclarationError."""
        built_in = {place.name: place for place in self.built_in}
        having_documents = [place.name for place in built_in.values() if place.has_documents]
        own: dict[str, list[Place]] = {}
        for number, stage in enumerate(self.stages):
            if stage.after not in having_documents:
                why = f"{stage.after!r} is no stage that has documents; there are: {listed(having_documents)}"
                self.refuse(f"stages.{number}.after", why)
            own.setdefault(stage.after, []).append(Place.of_own(stage))
        places = [each for place in built_in.values() for each in (place, *own.get(place.name, []))]
        names = [each.name for each in places]
        if twice := {name for name in names if names.count(name) > 1}:
            self.refuse("stages", f"two stages are called {listed(twice)}")
        return {f"{self.name}/{place.name}": place for place in places}

    @property
    def raw_asset(self) -> str:
        """The asset that holds every record as it was read."""
        return next(iter(self.chain))

    @property
    def documents_asset(self) -> str:
        """The asset whose documents are tokenized."""
        return [asset for asset, place in self.chain.items() if place.has_documents][-1]

    @property
    def rows_asset(self) -> str:
        """The asset that mixtures take rows from."""
        return list(self.chain)[-1]

    @override
    def makers(self, declarations: Declarations) -> Mapping[str, Maker]:
        made: dict[str, Maker] = {}
        before: str | None = None
        for asset, place in self.chain.items():
            made[asset] = partial(self._make, declarations, place, before)
            before = asset
        return made

    def _make(self, declarations: Declarations, place: Place, before: str | None) -> Link[Any]:
        upstream = None if before is None else declarations.project.link(before)
        find = partial(declarations.find, self)
        landing = self.landing_folder, self.follows_landing_links
        return place.make(Site(self.name, upstream, None, self.limits, *landing, find))
