"""Rule sets: thresholds on statistics, with their published defaults, as a source's YAML overrides them.

Guarantees that a rule set is nothing but a list of `Rule`: a statistic, a bound, a threshold and a name. How a
statistic is measured stands in `measure`, the comparison itself in `judge`.

A new rule set is a subclass of `RuleSet` and a field of `CleanParameters`, no more. The published sets are in
`published_rules`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Protocol, Self, runtime_checkable

from pydantic import Field, field_validator, model_validator

from llm_assets.contract.stage import Parameters


class Bound(StrEnum):
    """Which side of its threshold a statistic has to stay on. The threshold itself is allowed."""

    AT_LEAST = "at least"
    AT_MOST = "at most"


@dataclass(frozen=True)
class Rule:
    """A document whose `statistic` is not `bound` `threshold` breaks the rule `name` and is rejected."""

    name: str
    statistic: str
    bound: Bound
    threshold: float


@runtime_checkable
class HasRules(Protocol):
    """Parameters that know their rules by themselves, whatever field they are the value of."""

    def rules(self) -> Iterator[Rule]:
        """The rules switched on, in the order in which they count."""
        ...


class Entry(Parameters):
    """One of several in a field of parameters, told apart by its field `key`: no two have the same value there."""

    key: ClassVar[str] = "name"


@dataclass(frozen=True)
class Limit:
    """Says of a field of a rule set which statistic it bounds, and on which side."""

    bound: Bound
    statistic: str


class RuleSet(Parameters):
    """Fields annotated with one or more `Limit`; a field that is null is a rule switched off.

    A field `min_x` beside a field `max_x` must not be above it.
    """

    def rules(self, name: str) -> Iterator[Rule]:
        """The rules switched on, in the order of the fields, named `<name>.<field>`.

        Where one field bounds several statistics, that of each follows: `<name>.<field>.<statistic>`.
        """
        for field, info in type(self).model_fields.items():
            threshold: float | None = getattr(self, field)
            if threshold is None:
                continue
            limits = [each for each in info.metadata if isinstance(each, Limit)]
            for limit in limits:
                suffix = f".{limit.statistic}" if len(limits) > 1 else ""
                yield Rule(f"{name}.{field}{suffix}", limit.statistic, limit.bound, float(threshold))

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_only(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError(f"a threshold is a number, or null to switch the rule off, not {value}")
        return value

    @model_validator(mode="after")
    def _not_crossed(self) -> Self:
        for field in type(self).model_fields:
            partner = field.replace("min_", "max_", 1)
            low, high = getattr(self, field), getattr(self, partner, None)
            if partner != field and low is not None and high is not None and low > high:
                raise ValueError(f"{field} ({low}) is above {partner} ({high}): no document could pass")
        return self


Number = Annotated[int | None, Field(ge=0)]
Length = Annotated[float | None, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float | None, Field(ge=0, le=1, allow_inf_nan=False)]
Threshold = Annotated[float | None, Field(allow_inf_nan=False)]


class LengthRule(RuleSet):
    """Bounds on the length of a text, in code points.

    The defaults are this project's own: a text under 50 characters is a line without context, and one over ten
    million is a dump of many documents that was never split.
    """

    min_characters: Annotated[Number, Limit(Bound.AT_LEAST, "characters")] = 50
    max_characters: Annotated[Number, Limit(Bound.AT_MOST, "characters")] = 10_000_000


class Range(Parameters):
    """Thresholds on one statistic that a source chooses freely: `min`, `max` or both."""

    min: Threshold = None
    max: Threshold = None

    @model_validator(mode="after")
    def _bounds_something(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("neither min nor max is given")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min}) is above max ({self.max}): no document could pass")
        return self

    def rules(self, name: str, statistic: str) -> Iterator[Rule]:
        """The one or two rules, named `<name>.min` and `<name>.max`."""
        if self.min is not None:
            yield Rule(f"{name}.min", statistic, Bound.AT_LEAST, self.min)
        if self.max is not None:
            yield Rule(f"{name}.max", statistic, Bound.AT_MOST, self.max)
