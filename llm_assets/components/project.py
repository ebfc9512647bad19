"""A project as a whole: its definitions, and the links of everything it declares, for what is not Dagster's UI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dagster.components.core.component_tree import ComponentTree

from llm_assets.components.corpus_source import CorpusSource
from llm_assets.components.declared import declared
from llm_assets.components.mixture import Mixture
from llm_assets.components.quality_model import QualityModel
from llm_assets.components.tokenizer import Tokenizer
from llm_assets.stages.clean.quality.link import QualityModelLink
from llm_assets.stages.mix.link import MixedLink
from llm_assets.stages.pack.link import PackedLink
from llm_assets.stages.smoke_train.link import SmokeTrainLink
from llm_assets.stages.tokenizer.link import TokenizerLink


@dataclass(frozen=True)
class Project:
    """The links of a project by name: of a source the last one, `packed`, which knows those before it.

    `smoke_trains` are by mixture, for those that ask for one.
    """

    sources: Mapping[str, PackedLink]
    tokenizers: Mapping[str, TokenizerLink]
    models: Mapping[str, QualityModelLink]
    mixtures: Mapping[str, MixedLink]
    smoke_trains: Mapping[str, SmokeTrainLink]


def load_project(path: Path) -> Project:
    """What the YAML below a project folder declares. Raises DeclarationError."""
    context = ComponentTree.for_project(path).load_context
    mixtures = declared(context, Mixture)
    return Project(
        {name: source.packed_link(context) for name, source in declared(context, CorpusSource).items()},
        {name: tokenizer.link(context) for name, tokenizer in declared(context, Tokenizer).items()},
        {name: model.link(context) for name, model in declared(context, QualityModel).items()},
        {name: mixture.link(context) for name, mixture in mixtures.items()},
        {name: link for name, mixture in mixtures.items() if (link := mixture.smoke_train_link(context))},
    )
