"""Parameters of PII, as a source's YAML gives them.

Guarantees that every combination that validates can be carried out: no kind without an engine that finds it, and no
placeholder that would be found again or that lets what stands beside it be found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from llm_assets.contract.stage import Parameters
from llm_assets.stages.clean.pii.spans import KINDS, PATTERN_KINDS, Kind
from llm_assets.stages.clean.rules import Bound, Rule

_PLACEHOLDER: Final = re.compile(r"(?:<[^<>\[\]{}]+>|\[[^<>\[\]{}]+\]|\{{1,2}[^<>\[\]{}]+\}{1,2})")


class Action(StrEnum):
    """The action for a document with spans of a kind."""

    MASK = "mask"
    """Each span becomes a placeholder."""

    DROP = "drop"
    """The document is rejected, and the spans masked in what is kept of it."""

    FLAG = "flag"
    """The spans are counted and stay."""


class PresidioParameters(Parameters):
    """The kinds that the `presidio` engine finds, and its model.

    `model` is a spaCy pipeline: an installed package or a folder. Without one a blank pipeline is used, which finds
    no names: then `kinds` may only be those that presidio knows by patterns. Finds that score less than `min_score`
    do not count.
    """

    kinds: tuple[Kind, ...] = (Kind.PERSON, Kind.LOCATION)
    model: str | None = None
    language: str = "en"
    min_score: float = Field(default=0.4, ge=0, le=1)

    @field_validator("kinds")
    @classmethod
    def _known(cls, kinds: tuple[Kind, ...]) -> tuple[Kind, ...]:
        if not kinds:
            raise ValueError("presidio.kinds is empty: to do without presidio, set engine to patterns")
        if Kind.API_KEY in kinds:
            raise ValueError("presidio knows no API keys: leave them to the patterns")
        return kinds

    @model_validator(mode="after")
    def _findable(self) -> Self:
        names = [kind for kind in self.kinds if kind not in PATTERN_KINDS]
        if names and self.model is None:
            raise ValueError(
                f"a blank pipeline finds no {' and no '.join(names)}: name a spaCy model in presidio.model, or in"
                " presidio.kinds only what presidio knows by patterns"
            )
        return self


class PiiParameters(Parameters):
    """The action for each kind of PII: `mask`, `drop`, `flag`, or null to ignore it, without counting.

    A document with several kinds to drop counts as dropped by the first, in the order of these fields. Of finds that
    overlap, those to mask or to drop come before those to flag; then the longest remains, and what becomes of its
    kind becomes of all of it. A kind to drop counts also within another's find. Engine `patterns` finds every kind
    but `person` and `location`; engine `presidio` leaves to presidio the kinds that `presidio.kinds` names, and the
    others to the patterns.

    `placeholders` overrides "<EMAIL>" and its like, kind by kind. A placeholder stands in brackets (<>, [], {} or
    {{}}): only then does masking a masked text change nothing.
    """

    engine: Literal["patterns", "presidio"] = "patterns"
    email: Action | None = Action.MASK
    ip: Action | None = Action.MASK
    phone: Action | None = Action.MASK
    credit_card: Action | None = Action.MASK
    us_ssn: Action | None = Action.MASK
    iban: Action | None = Action.MASK
    api_key: Action | None = Action.MASK
    person: Action | None = None
    location: Action | None = None
    placeholders: Mapping[Kind, str] = Field(default_factory=dict)
    presidio: PresidioParameters | None = None

    def action(self, kind: Kind) -> Action | None:
        """The action for a kind; None where it is ignored."""
        return getattr(self, kind.value)

    def kinds(self, *actions: Action) -> tuple[Kind, ...]:
        """The kinds with one of these actions, in the order of the fields; without actions, all looked for."""
        fields = [Kind(name) for name in type(self).model_fields if name in KINDS]
        return tuple(kind for kind in fields if self.action(kind) in (actions or tuple(Action)))

    def rules(self) -> Iterator[Rule]:
        """A rule for each kind to drop: none of it may be there."""
        for kind in self.kinds(Action.DROP):
            yield Rule(f"pii.{kind.value}", f"pii.{kind.value}", Bound.AT_MOST, 0.0)

    def placeholder(self, kind: Kind) -> str:
        """The text that replaces a span of the kind."""
        return self.placeholders.get(kind, f"<{kind.value.upper()}>")

    @field_validator("placeholders")
    @classmethod
    def _inert(cls, placeholders: Mapping[Kind, str]) -> Mapping[Kind, str]:
        import pyarrow as pa

        from llm_assets.stages.clean.pii.find import find  # late: few sources have placeholders of their own

        for kind, text in placeholders.items():
            if not _PLACEHOLDER.fullmatch(text):
                raise ValueError(f"the placeholder of {kind.value}, {text!r}, must stand in <>, [], {{}} or {{{{}}}}")
            if "-----" in text or len(find(pa.array([text], pa.large_string()))):
                raise ValueError(f"the placeholder of {kind.value}, {text!r}, would be taken for PII itself")
        return placeholders

    @model_validator(mode="after")
    def _findable(self) -> Self:
        by_presidio: tuple[Kind, ...] = ()
        if self.engine == "presidio":
            if self.presidio is None:
                raise ValueError("engine is presidio: say in the field presidio with which model, and for which kinds")
            by_presidio = self.presidio.kinds
        elif self.presidio is not None:
            raise ValueError("the field presidio is set, but engine is patterns: set engine to presidio")
        for kind in self.kinds():
            if kind not in PATTERN_KINDS and kind not in by_presidio:
                raise ValueError(f"nothing finds {kind.value}: it needs engine presidio, and to be in presidio.kinds")
        return self
