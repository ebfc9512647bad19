"""The declarations of a project's YAML: components by name, read once, and the links made of them.

Guarantees that no two components of a kind have one name, that every link is made once, whoever asks for it, and that
a declaration which cannot be is refused with file, line and remedy.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, NoReturn, Self, TypeVar, cast
from weakref import WeakKeyDictionary

import dagster as dg
from dagster.components.core.component_tree import ComponentTree
from dagster_shared.yaml_utils.source_position import SourcePositionTree
from pydantic import BaseModel, Field, PrivateAttr, ValidationError

from llm_assets.components import positions
from llm_assets.components.attributes import precise
from llm_assets.components.positions import DeclarationError
from llm_assets.components.stage_asset import AssetFacts, link_asset
from llm_assets.contract.frozen import FrozenLink
from llm_assets.contract.link import Link
from llm_assets.project import CircleError, Maker, Project
from llm_assets.stages.clean.quality.link import QualityModelLink
from llm_assets.stages.tokenizer.link import TokenizerLink

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""A name that can be an asset key, a Dagster group and a folder."""

FROZEN: tuple[type[FrozenLink[Any, Any]], ...] = (TokenizerLink, QualityModelLink)
RESERVED = frozenset(kind.key("").removesuffix("/") for kind in FROZEN)
"""First parts of the keys of all tokenizers and all models, and their groups: no names for anything else."""


class Declared(dg.Component, dg.Model, dg.Resolvable):
    """A component that has a name, unique among its kind, and knows where it was declared."""

    name: Name = Field(description="Name, unique among its kind: it is in the keys of its assets.")
    description: str = Field(default="", description="A sentence or more for the people who look at its assets.")
    owners: list[str] = Field(default_factory=list, description="E-mail addresses, or `team:…`.")
    tags: dict[str, str] = Field(default_factory=dict, description="Tags of the assets, to search by.")

    noun: ClassVar[str]
    """The word for things of this kind in messages. All components with one noun have different names."""

    _positions: SourcePositionTree | None = PrivateAttr(default=None)

    @abstractmethod
    def makers(self, declarations: Declarations) -> Mapping[str, Maker]:
        """How the link of each declared asset is made, by asset. A maker raises DeclarationError."""

    def sensors(self, project: Project) -> Sequence[dg.SensorDefinition]:
        """Sensors that look after the assets."""
        return ()

    @classmethod
    def model(cls) -> type[BaseModel]:
        """The fields that the YAML may hold."""
        return precise(super().model(), cls)

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Self:
        """The component, as the YAML has it once templates are filled in. Raises DeclarationError."""
        tree = context.resolution_context.source_position_tree
        try:
            component = super().load(attributes, context)
        except ValidationError as error:
            raise positions.invalid(tree, error) from error
        component._positions = tree
        return component

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The assets, checks and sensors that are declared. Raises DeclarationError where they cannot be."""
        declarations = Declarations.of(context)
        project, facts = declarations.project, AssetFacts(self.description, self.owners, self.tags)
        try:
            assets = [link_asset(project.link(asset), facts) for asset in self.makers(declarations)]
            return dg.Definitions(assets=assets, sensors=self.sensors(project))
        except dg.DagsterInvalidDefinitionError as error:
            raise DeclarationError(f"{positions.place(self._positions, ())}: {error}") from error

    def refuse(self, field: str | Sequence[str | int], why: str) -> NoReturn:
        """Raise a DeclarationError at the line of a field, or of what it would be in.

        `a.b.1` is the second item of the list `b` in `a`. Where a key may have a dot in it: `("a", "b", 1)`.
        """
        path = positions.parts(field) if isinstance(field, str) else field
        raise DeclarationError(f"{positions.place(self._positions, path)}: {'.'.join(map(str, path))}: {why}")

    def refuse_invalid(self, error: ValidationError) -> NoReturn:
        """Raise a DeclarationError for values of fields that a stage's parameters cannot have."""
        raise positions.invalid(self._positions, error) from error

    def place(self) -> str:
        """File and line of the name."""
        return positions.place(self._positions, ["name"])


ComponentT = TypeVar("ComponentT", bound=Declared)


class Declarations:
    """The components of a project, and the links that are made of them. Raises DeclarationError where names clash."""

    def __init__(self, components: Iterable[Declared]) -> None:
        self._by_noun: dict[str, dict[str, Declared]] = {}
        for component in components:
            self._add(component)
        makers: dict[str, Maker] = {}
        for component in (each for named in self._by_noun.values() for each in named.values()):
            for asset, maker in component.makers(self).items():
                if asset in makers:
                    component.refuse("name", f"another declaration has the asset {asset} already")
                makers[asset] = maker
        self.project = Project(makers)

    def _add(self, component: Declared) -> None:
        named = self._by_noun.setdefault(component.noun, {})
        name = component.name
        if name in named:
            component.refuse("name", f"another {component.noun} is called {name!r}, declared in {named[name].place()}")
        if name in RESERVED:
            component.refuse("name", f"{name!r} is where all {name} are; another name will do")
        named[name] = component

    @classmethod
    def of(cls, context: dg.ComponentLoadContext) -> Declarations:
        """The declarations of the project that is being loaded, looked at once."""
        tree = context.component_tree
        if tree.state_tracker not in _LOOKED_AT:
            _LOOKED_AT[tree.state_tracker] = cls(tree.get_all_components(of_type=Declared))
        return _LOOKED_AT[tree.state_tracker]

    def named(self, kind: type[ComponentT]) -> Mapping[str, ComponentT]:
        """The components of a kind, by name."""
        return cast(Mapping[str, ComponentT], self._by_noun.get(kind.noun, {}))

    def component(self, kind: type[ComponentT], name: str, asker: Declared, field: str) -> ComponentT:
        """The component that a field of another one names. Raises DeclarationError at that field."""
        there = self.named(kind)
        if name not in there:
            asker.refuse(field, f"no {kind.noun} {name!r} is declared; there are: {listed(there)}")
        return there[name]

    def find(self, asker: Declared, asset: str, field: str) -> Link[Any]:
        """The link of a tokenizer or model that a field of a component names. Raises DeclarationError at that field."""
        group, _, name = asset.partition("/")
        kind = next(kind for kind in FROZEN if kind.key("") == f"{group}/")
        there = self._by_noun.get(kind.noun, {})
        if name not in there:
            asker.refuse(field, f"no {kind.noun} {name!r} is declared; there are: {listed(there)}")
        try:
            return self.project.link(asset)
        except CircleError as error:
            asker.refuse(field, str(error))


_LOOKED_AT: WeakKeyDictionary[Any, Declarations] = WeakKeyDictionary()
"""By the state of a component tree, which is made anew at each load."""


def load_project(path: Path) -> Project:
    """The links that the YAML below a project folder declares. Raises DeclarationError."""
    return project_of(ComponentTree.for_project(path))


def project_of(tree: ComponentTree) -> Project:
    """The links that a component tree declares, all made. Raises DeclarationError."""
    project = Declarations.of(tree.load_context).project
    project.make_all()
    return project


def listed(names: Iterable[str]) -> str:
    """Names for an error message."""
    return ", ".join(sorted(names)) or "none"
