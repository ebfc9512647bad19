"""Where a declaration places the link of a stage: what comes before it, and what the declaration says of it.

Every stage of a source is placed in the same way, the built-in ones and those of users. YAML and its lines are the
business of the components.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict

from llm_assets.contract.link import Link


@dataclass(frozen=True)
class Site:
    """A place in the chain of a source.

    `upstream` is the link before, None for the first. `parameters` is what the declaration says in the stage's field.
    `limits` are those of the source's checks, by name. `landing` is the folder above the source's own, None where it
    is the store's, and `landing_links` says whether links may lead out of it. `find` gives the link of another asset
    that a field names: it takes the asset and the field, and refuses the field where there is none.
    """

    source: str
    upstream: Link[Any] | None
    parameters: Any
    limits: Mapping[str, float]
    landing: str | None
    landing_links: bool
    find: Callable[[str, str], Link[Any]]


class Limits(BaseModel):
    """Base of the limits of one stage's checks: the fields by which `checks` of a source sets them."""

    model_config = ConfigDict(frozen=True)


class SourceStage(ABC):
    """A class of links that is a stage of sources: `stage_name` is the last part of the keys of its assets."""

    stage_name: ClassVar[str]

    @classmethod
    @abstractmethod
    def placed(cls, site: Site) -> Self:
        """The link at a place in a chain."""
