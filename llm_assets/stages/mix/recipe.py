"""The recipe of a mixture, as a person writes it: shares, length, phases, held-out rows, what it continues.

Guarantees that a recipe that parses makes sense by itself: whether the sources have enough rows is `plan`'s question.
Numbers are the decimal numbers that were written: 0.1 is one tenth.
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
"""Name of the phase of a recipe without phases."""


def exact(number: float) -> Fraction:
    """The decimal number that a person wrote to get this float."""
    return Fraction(repr(number))


def _in_order_of_names(shares: dict[str, float]) -> dict[str, float]:
    """Sorted, so that the order in a file changes nothing; refused where they could not be kept exactly."""
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
    """Rows of a source that are kept for validation: a number of `rows`, or as many as have `tokens` tokens."""

    rows: int | None = Field(default=None, ge=0, le=2**60)
    tokens: int | None = Field(default=None, ge=0, le=2**60)

    @model_validator(mode="after")
    def _one_of_them(self) -> HeldOutAmount:
        if (self.rows is None) == (self.tokens is None):
            raise ValueError("either rows or tokens, one of them")
        return self


class HeldOutParameters(Parameters):
    """What is kept for validation: of every source the same amount, of those in `by_source` another one."""

    rows: int | None = Field(default=None, ge=0, le=2**60)
    tokens: int | None = Field(default=None, ge=0, le=2**60)
    by_source: dict[str, HeldOutAmount] = Field(default_factory=dict[str, HeldOutAmount])

    @model_validator(mode="after")
    def _says_something(self) -> HeldOutParameters:
        if self.rows is not None and self.tokens is not None:
            raise ValueError("either rows or tokens, not both")
        if self.rows is None and self.tokens is None and not self.by_source:
            raise ValueError("rows, tokens or by_source is needed")
        return self

    def of(self, source: str) -> HeldOutAmount:
        """The amount held out of a source."""
        if source in self.by_source or (self.rows is None and self.tokens is None):
            return self.by_source.get(source, HeldOutAmount(rows=0))
        return HeldOutAmount(rows=self.rows, tokens=self.tokens)


class Phase(Parameters):
    """A range of the mixture with shares of its own.

    Attributes:
        name: of the phase.
        rows: its length in rows.
        tokens: its length in tokens: in rows it is these by the mean number of tokens in a row, rounded up.
        fraction: its length as a part of the whole. Of one phase the length may be left out: it takes the rest.
        shares: as in `MixParameters`; where neither these nor `sources` are given, those of the whole recipe.
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
            raise ValueError("only one of rows, tokens and fraction")
        if self.shares is not None and self.sources is not None:
            raise ValueError("either shares or sources, not both")
        return self

    @property
    def takes_the_rest(self) -> bool:
        """Whether its length follows from the others."""
        return self.rows is None and self.tokens is None and self.fraction is None


class MixParameters(Parameters):
    """The recipe of a mixture. Where fields do not go together, the message starts with the name of one of them.

    Attributes:
        shares: source, or group of sources, to its part of the rows. Only proportions count. 0 means none of it.
        sources: instead of `shares`: sources (or groups) whose parts follow from their sizes and `temperature`.
        groups: name of a group to its sources, as `tag:kind=prose` to the sources with that tag. A group's share is
            divided among its sources by their sizes and `temperature`.
        within: how the share of a group is divided instead: source to its part of it.
        temperature: T, where shares follow from sizes: a source of n rows gets n^(1/T) parts. 1 is by size, higher is
            more even. (Raffel et al. 2020, section 3.5.2, call this the rate r = n^(1/T); the exponent alpha = 1/T is
            that of Conneau and Lample 2019, section 3.1, who take 0.5 and 0.7.)
        seed: of the order of rows within the sources; 0, or where the recipe continues another, that one's.
        max_repetitions: how often a source's rows may be used at most; 0.5 is half of them once.
        max_repetitions_by_source: of sources that may be used otherwise often.
        total_rows: rows of the mixture. Where no length is given at all, the most for which no share of them exceeds
            what `max_repetitions` allows of a source.
        total_tokens: its length in tokens instead, as of a `Phase`.
        epochs: its length instead as a multiple of all rows of its sources: by size, once over everything is 1.
        phases: consecutive ranges, each with shares and length of its own.
        held_out: rows kept for validation; they are in no phase.
        snapshots: of sources that are pinned, their snapshots; of others all that are up to date are taken.
        continues: `mixture@version`: rows before its row `from_row` are used up, and their sources go on from there.
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
            raise ValueError("two phases of one name")
        if sum(phase.takes_the_rest for phase in phases) > 1:
            raise ValueError("only one phase can be without rows, tokens or fraction")
        return phases

    @field_validator("continues")
    @classmethod
    def _is_a_version(cls, continues: str | None) -> str | None:
        if continues is not None and not VERSION.fullmatch(continues):
            raise ValueError("a version of a mixture is expected, as pretrain@v1")
        return continues

    @model_validator(mode="after")
    def _shares_known(self) -> MixParameters:
        if self.shares is not None and self.sources is not None:
            raise ValueError("sources: either shares or sources, not both")
        own = [phase.shares is not None or phase.sources is not None for phase in self.phases]
        if self.shares is None and self.sources is None and not (own and all(own)):
            raise ValueError("shares: they are needed, or sources whose shares follow from their sizes")
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
                    why = f"here sources are named one by one, not by a tag: {_listed(members)}"
                raise ValueError(f"{field}.{strangers[0]}: {why}")
        return self

    @model_validator(mode="after")
    def _temperature_matters(self) -> MixParameters:
        """A temperature that changes nothing would be taken for one that does."""
        why = "no part follows from sizes where it holds: give `sources` or a tag instead of shares, or leave it out"
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
            raise ValueError(f"{given[-1]}: only one of {' and '.join(given)}")
        if (self.continues is None) != (self.from_row is None):
            raise ValueError(f"{'from_row' if self.continues is None else 'continues'}: both go together")
        if not self.phases:
            return self
        fractions = [exact(phase.fraction) for phase in self.phases if phase.fraction is not None]
        if any(phase.takes_the_rest for phase in self.phases):
            if sum(fractions) >= 1:
                raise ValueError("phases: the fractions leave nothing for the phase without a length")
        elif not fractions and given:
            raise ValueError(f"{given[0]}: each phase has a length already; leave out one, and that phase is the rest")
        elif fractions and len(fractions) < len(self.phases):
            raise ValueError("phases: where some have a fraction and some rows or tokens, one without any is the rest")
        elif fractions and sum(fractions) != 1:
            raise ValueError(f"phases: the fractions add up to {float(sum(fractions)):.9g}, not to 1")
        return self

    @property
    def lengths(self) -> tuple[Phase, ...]:
        """The phases; one that takes the rest, where there are none."""
        return self.phases or (Phase(name=WHOLE),)

    @property
    def phase_shares(self) -> tuple[PhaseShares, ...]:
        """How the shares of each of `lengths` come about."""
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
        """Sources whose share is given as 0 in every phase."""
        used = {name for shares in self.phase_shares for name in shares.used_names}
        return frozenset({*self.source_names} - used)

    @property
    def terms(self) -> tuple[str, ...]:
        """What shares are given of, or follow from sizes, in any phase: sources and groups."""
        return tuple(sorted({term for shares in self.phase_shares for term in shares.terms}))

    @property
    def continued(self) -> tuple[str, str] | None:
        """Mixture and version that this one continues."""
        found = VERSION.fullmatch(self.continues or "")
        return (found["mixture"], found["version"]) if found else None

    def repetitions_of(self, source: str) -> Fraction:
        """How often rows of a source may be used."""
        return exact(self.max_repetitions_by_source.get(source, self.max_repetitions))


@dataclass(frozen=True)
class PhaseShares:
    """The shares of one phase as they were given: `shares` of terms or `sources`, both of which may be groups."""

    phase: str
    shares: Mapping[str, float] | None
    sources: tuple[str, ...] | None
    groups: Mapping[str, tuple[str, ...]]
    within: Mapping[str, Mapping[str, float]]
    temperature: Fraction
    place: str = ""
    """Of the field they were given in: that of the phase, `phases.1.`, or nothing."""

    @property
    def field(self) -> str:
        """Where they were given."""
        return f"{self.place}{'shares' if self.shares is not None else 'sources'}"

    @property
    def terms(self) -> tuple[str, ...]:
        """What has a share: sources and groups."""
        return tuple(self.shares if self.shares is not None else self.sources or ())

    def members(self, term: str) -> tuple[str, ...]:
        """The sources of a term."""
        return self.groups.get(term, (term,))

    @property
    def follow_from_sizes(self) -> bool:
        """Whether any part follows from sizes, and so from the temperature."""
        return self.shares is None or any(
            share and term in self.groups and term not in self.within for term, share in self.shares.items()
        )

    @property
    def source_names(self) -> Iterator[str]:
        """The sources of all terms."""
        return (name for term in self.terms for name in self.members(term))

    @property
    def used_names(self) -> Iterator[str]:
        """The sources that are not given a share of 0."""
        for term in self.terms:
            parts = self.within.get(term, {}) if term in self.groups else {}
            if self.shares is None or self.shares[term]:
                yield from (name for name in self.members(term) if parts.get(name, 1))

    def check(self) -> None:
        """Raises ValueError where a source has two shares or a group is not divided among just its sources."""
        names = sorted(self.source_names)
        twice = sorted({name for name, following in pairwise(names) if name == following})
        if twice:
            terms = [term for term in self.terms if twice[0] in self.members(term)]
            raise ValueError(
                f"{self.field}: {twice[0]} would have two: it is in {' and in '.join(terms)}. Name the sources "
                "themselves, or one tag for all of them, divided by `within`"
            )
        for group, parts in self.within.items():
            if group in self.groups and {*parts} != {*self.groups[group]}:
                raise ValueError(f"within: {group}: it has to say the part of {_listed(self.groups[group])}")
            if group not in self.groups:
                raise ValueError(f"within: {group}: no such group here; there are: {_listed(self.groups)}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
