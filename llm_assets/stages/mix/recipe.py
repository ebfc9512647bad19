"""The recipe of a mixture as a user writes it: shares, length, phases, held-out rows, the version that it continues.

Guarantees that a parsed recipe is consistent; `plan` finds out whether the sources have enough rows. Numbers are exact
decimals: 0.1 is one tenth.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator, model_validator

from llm_assets.contract.stage import Parameters
from llm_assets.stages.mix.source_schedule import whole_weights

MAX_SEED = 2**63 - 1
VERSION = re.compile(r"(?P<mixture>[A-Za-z_][A-Za-z0-9_]*)@(?P<version>v[1-9][0-9]*)")
WHOLE = "whole"
"""Name of the only phase of a recipe without phases."""


def exact(number: float) -> Fraction:
    """The shortest decimal that parses to this float: the number as it was written."""
    return Fraction(repr(number))


def _in_order_of_names(shares: dict[str, float]) -> dict[str, float]:
    """Sort shares by name, so that their order in YAML is irrelevant. Raises ValueError for inexact ones."""
    whole_weights([exact(share) for share in shares.values()])
    return {name: abs(shares[name]) for name in sorted(shares)}


def _names_in_order(names: tuple[str, ...]) -> tuple[str, ...]:
    if len({*names}) < len(names):
        twice = next(name for name, following in pairwise(sorted(names)) if name == following)
        raise ValueError(f"{twice} is named twice")
    return tuple(sorted(names))


Share = Annotated[float, Field(strict=True, ge=0, le=2**53, allow_inf_nan=False)]
Shares = Annotated[dict[str, Share], Field(min_length=1), AfterValidator(_in_order_of_names)]
Names = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_names_in_order)]
Repetitions = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Temperature = Annotated[float, Field(ge=0.01, le=1_000, allow_inf_nan=False)]
Amount = Annotated[int, Field(gt=0, le=2**60)]


class HeldOutAmount(Parameters):
    """Rows of a source to hold out for validation: a number of `rows`, or as many as have `tokens` tokens."""

    rows: int | None = Field(default=None, ge=0, le=2**60)
    tokens: int | None = Field(default=None, ge=0, le=2**60)

    @model_validator(mode="after")
    def _one_of_them(self) -> HeldOutAmount:
        if (self.rows is None) == (self.tokens is None):
            raise ValueError("give either rows or tokens")
        return self


class HeldOutParameters(Parameters):
    """Rows to hold out for validation: the same amount of every source, except those in `by_source`."""

    rows: int | None = Field(default=None, ge=0, le=2**60)
    tokens: int | None = Field(default=None, ge=0, le=2**60)
    by_source: dict[str, HeldOutAmount] = Field(default_factory=dict[str, HeldOutAmount])

    @model_validator(mode="after")
    def _says_something(self) -> HeldOutParameters:
        if self.rows is not None and self.tokens is not None:
            raise ValueError("give either rows or tokens, not both")
        if self.rows is None and self.tokens is None and not self.by_source:
            raise ValueError("give rows, tokens or by_source")
        return self

    def of(self, source: str) -> HeldOutAmount:
        """The amount held out of a source."""
        if source in self.by_source or (self.rows is None and self.tokens is None):
            return self.by_source.get(source, HeldOutAmount(rows=0))
        return HeldOutAmount(rows=self.rows, tokens=self.tokens)


class Phase(Parameters):
    """A range of the mixture with shares of its own.

    Attributes:
        name: its name.
        rows: its length in rows.
        tokens: its length in tokens; divided by the mean number of tokens per row and rounded up, it is the rows.
        fraction: its length as a fraction of the whole. One phase may have no length: it takes the rest.
        shares: as in `MixParameters`; by default those of the whole recipe, unless `sources` are given.
        sources: as in `MixParameters`.
        within: as in `MixParameters`, added to those of the whole recipe.
        temperature: as in `MixParameters`; by default that of the whole recipe.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    rows: Amount | None = None
    tokens: Amount | None = None
    fraction: float | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)
    shares: Shares | None = None
    sources: Names | None = None
    within: dict[str, Shares] = Field(default_factory=dict[str, Shares])
    temperature: Temperature | None = None

    @model_validator(mode="after")
    def _one_length(self) -> Phase:
        if sum(length is not None for length in (self.rows, self.tokens, self.fraction)) > 1:
            raise ValueError("give only one of rows, tokens and fraction")
        if self.shares is not None and self.sources is not None:
            raise ValueError("give either shares or sources, not both")
        return self

    @property
    def takes_the_rest(self) -> bool:
        """True for a phase without a length, which takes the rows that the others leave."""
        return self.rows is None and self.tokens is None and self.fraction is None


class MixParameters(Parameters):
    """The recipe of a mixture. Where fields contradict each other, the message starts with the name of one of them.

    Attributes:
        shares: source or group → its share of the rows. Only proportions count. 0 means none of it.
        sources: instead of `shares`: sources or groups whose shares follow from their sizes and `temperature`.
        groups: group → its sources, such as `tag:kind=prose` → the sources with that tag. The share of a group is
            divided among its sources by their sizes and `temperature`.
        within: group → its sources with their parts, to divide its share by these instead.
        temperature: T, where shares follow from sizes: a source of n rows gets n^(1/T) parts. 1 is by size, higher is
            more even. (Raffel et al. 2020, section 3.5.2, call this the rate r = n^(1/T); the exponent alpha = 1/T is
            that of Conneau and Lample 2019, section 3.1, who take 0.5 and 0.7.)
        seed: of the order of rows within the sources; by default 0, or that of the recipe that this one continues.
        max_repetitions: the most uses of a source's rows; 0.5 is half of them once.
        max_repetitions_by_source: source → its own limit.
        total_rows: length in rows. Without any length, the longest mixture in which no share exceeds the rows that
            `max_repetitions` allows of its source.
        total_tokens: length in tokens instead, as for a `Phase`.
        epochs: length instead as a multiple of all rows of its sources: with shares by size, 1 uses every row once.
        phases: consecutive ranges, each with its own shares and length.
        held_out: rows held out for validation; they are in no phase.
        snapshots: source → the snapshots to use; by default all that are up to date.
        continues: `mixture@version`: the rows before its row `from_row` count as used, and the sources continue there.
        from_row: see `continues`.
    """

    shares: Shares | None = None
    sources: Names | None = None
    groups: dict[str, Names] = Field(default_factory=dict[str, Names])
    within: dict[str, Shares] = Field(default_factory=dict[str, Shares])
    temperature: Temperature = 1.0
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)
    max_repetitions: Repetitions = 1.0
    max_repetitions_by_source: dict[str, Repetitions] = Field(default_factory=dict[str, Repetitions])
    total_rows: Amount | None = None
    total_tokens: Amount | None = None
    epochs: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    phases: tuple[Phase, ...] = ()
    held_out: HeldOutParameters | None = None
    snapshots: dict[str, Names] = Field(default_factory=dict[str, Names])
    continues: str | None = None
    from_row: int | None = Field(default=None, ge=0)

    @field_validator("phases")
    @classmethod
    def _named_apart(cls, phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
        if len({phase.name for phase in phases}) < len(phases):
            raise ValueError("two phases have the same name: rename one")
        if sum(phase.takes_the_rest for phase in phases) > 1:
            raise ValueError("only one phase may be without rows, tokens and fraction")
        return phases

    @field_validator("continues")
    @classmethod
    def _is_a_version(cls, continues: str | None) -> str | None:
        if continues is not None and not VERSION.fullmatch(continues):
            raise ValueError("give a version of a mixture, such as pretrain@v1")
        return continues

    @model_validator(mode="after")
    def _shares_known(self) -> MixParameters:
        if self.shares is not None and self.sources is not None:
            raise ValueError("sources: give either shares or sources, not both")
        own = [phase.shares is not None or phase.sources is not None for phase in self.phases]
        if self.shares is None and self.sources is None and not (own and all(own)):
            raise ValueError("shares: give shares, or sources whose shares follow from their sizes")
        known = {*self.source_names}
        of_sources = {
            "max_repetitions_by_source": self.max_repetitions_by_source,
            "snapshots": self.snapshots,
            "held_out.by_source": self.held_out.by_source if self.held_out else {},
        }
        for field, names in of_sources.items():
            if strangers := sorted({*names} - known):
                members = self.groups.get(strangers[0])
                why = f"not in this mixture, which has {_listed(known)}"
                if members:
                    why = f"name the sources here, not a tag: {_listed(members)}"
                raise ValueError(f"{field}.{strangers[0]}: {why}")
        return self

    @model_validator(mode="after")
    def _temperature_matters(self) -> MixParameters:
        """Refuse a temperature without effect, which a user would believe to have one."""
        why = "no share follows from sizes, so it has no effect: give `sources` or a tag instead of shares, or drop it"
        matters = False
        for number, (phase, shares) in enumerate(zip(self.lengths, self.phase_shares, strict=True)):
            if phase.temperature is None:
                matters |= shares.follow_from_sizes
            elif not shares.follow_from_sizes:
                raise ValueError(f"phases.{number}.temperature: {why}")
        if self.temperature != 1 and not matters:
            raise ValueError(f"temperature: {why}")
        return self

    @model_validator(mode="after")
    def _groups_divided(self) -> MixParameters:
        for shares in self.phase_shares:
            shares.check()
        return self

    @model_validator(mode="after")
    def _one_length(self) -> MixParameters:
        given = [name for name in ("total_rows", "total_tokens", "epochs") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{given[-1]}: give only one of {' and '.join(given)}")
        if (self.continues is None) != (self.from_row is None):
            raise ValueError(
                f"{'from_row' if self.continues is None else 'continues'}: give continues and from_row together"
            )
        if not self.phases:
            return self
        fractions = [exact(phase.fraction) for phase in self.phases if phase.fraction is not None]
        if any(phase.takes_the_rest for phase in self.phases):
            if sum(fractions) >= 1:
                raise ValueError("phases: the fractions leave nothing for the phase without a length")
        elif not fractions and given:
            raise ValueError(
                f"{given[0]}: each phase has a length already: leave out one of those, and that phase is the rest"
            )
        elif fractions and len(fractions) < len(self.phases):
            raise ValueError(
                "phases: some have a fraction and some rows or tokens: leave out one length, and that phase is the rest"
            )
        elif fractions and sum(fractions) != 1:
            raise ValueError(f"phases: the fractions add up to {float(sum(fractions)):.9g}, not to 1")
        return self

    @property
    def lengths(self) -> tuple[Phase, ...]:
        """The phases; a single phase without a length, where the recipe has none."""
        return self.phases or (Phase(name=WHOLE),)

    @property
    def phase_shares(self) -> tuple[PhaseShares, ...]:
        """The shares of each of `lengths`, as they are given."""
        return tuple(self._phase_shares(phase) for phase in self.lengths)

    def _phase_shares(self, phase: Phase) -> PhaseShares:
        own = phase.shares is not None or phase.sources is not None
        return PhaseShares(
            phase.name,
            phase.shares if own else self.shares,
            phase.sources if own else self.sources,
            self.groups,
            {**self.within, **phase.within},
            exact(self.temperature if phase.temperature is None else phase.temperature),
            f"phases.{self.phases.index(phase)}." if own else "",
        )

    @property
    def source_names(self) -> tuple[str, ...]:
        """All sources of all phases, in order of names."""
        return tuple(sorted({name for shares in self.phase_shares for name in shares.source_names}))

    @property
    def without_share(self) -> frozenset[str]:
        """Sources with a given share of 0 in every phase."""
        used = {name for shares in self.phase_shares for name in shares.used_names}
        return frozenset({*self.source_names} - used)

    @property
    def terms(self) -> tuple[str, ...]:
        """Sources and groups that have a share in any phase, in order of names."""
        return tuple(sorted({term for shares in self.phase_shares for term in shares.terms}))

    @property
    def continued(self) -> tuple[str, str] | None:
        """Mixture and version that this recipe continues, if any."""
        found = VERSION.fullmatch(self.continues or "")
        return (found["mixture"], found["version"]) if found else None

    def repetitions_of(self, source: str) -> Fraction:
        """The most uses of a row of the source, exactly."""
        return exact(self.max_repetitions_by_source.get(source, self.max_repetitions))


@dataclass(frozen=True)
class PhaseShares:
    """The shares of one phase as given: `shares` by term, or `sources`. A term is a source or a group."""

    phase: str
    shares: Mapping[str, float] | None
    sources: tuple[str, ...] | None
    groups: Mapping[str, tuple[str, ...]]
    within: Mapping[str, Mapping[str, float]]
    temperature: Fraction
    place: str = ""
    """Prefix of the field in messages: `phases.1.`, or empty for the whole recipe."""

    @property
    def field(self) -> str:
        """The field that gives the shares, for messages."""
        return f"{self.place}{'shares' if self.shares is not None else 'sources'}"

    @property
    def terms(self) -> tuple[str, ...]:
        """The sources and groups that have a share."""
        return tuple(self.shares if self.shares is not None else self.sources or ())

    def members(self, term: str) -> tuple[str, ...]:
        """The sources of a term: those of the group, or the source itself."""
        return self.groups.get(term, (term,))

    @property
    def follow_from_sizes(self) -> bool:
        """True where any share follows from sizes, and so depends on the temperature."""
        return self.shares is None or any(
            share and term in self.groups and term not in self.within for term, share in self.shares.items()
        )

    @property
    def source_names(self) -> Iterator[str]:
        """The sources of all terms."""
        return (name for term in self.terms for name in self.members(term))

    @property
    def used_names(self) -> Iterator[str]:
        """The sources whose given share is not 0."""
        for term in self.terms:
            parts = self.within.get(term, {}) if term in self.groups else {}
            if self.shares is None or self.shares[term]:
                yield from (name for name in self.members(term) if parts.get(name, 1))

    def check(self) -> None:
        """Raise ValueError where a source has two shares, or `within` has other sources than the group."""
        names = sorted(self.source_names)
        twice = sorted({name for name, following in pairwise(names) if name == following})
        if twice:
            terms = [term for term in self.terms if twice[0] in self.members(term)]
            raise ValueError(
                f"{self.field}: {twice[0]} would have two shares: it is in {' and in '.join(terms)}. Name the sources "
                "themselves, or one tag for all of them, divided by `within`"
            )
        for group, parts in self.within.items():
            if group in self.groups and {*parts} != {*self.groups[group]}:
                raise ValueError(f"within: {group}: give the part of each of {_listed(self.groups[group])}")
            if group not in self.groups:
                raise ValueError(f"within: {group} is no group of this mixture; there are: {_listed(self.groups)}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
