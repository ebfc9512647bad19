"""Rule sets: thresholds on statistics, with their published defaults, as a source's YAML overrides them.

Guarantees that a rule set is nothing but a list of `Rule`: a statistic, a bound, a threshold and a name. How a
statistic is measured stands in `measure`, the comparison itself in `judge`.

A new rule set is a subclass of `RuleSet` and a field of `CleanParameters`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import Field, field_validator, model_validator

from llm_assets.stages.stage import Parameters


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


_Number = Annotated[int | None, Field(ge=0)]
_Length = Annotated[float | None, Field(ge=0, allow_inf_nan=False)]
_Fraction = Annotated[float | None, Field(ge=0, le=1, allow_inf_nan=False)]


class LengthRule(RuleSet):
    """Bounds on the length of a text, in code points.

    The defaults are this project's own: a text under 50 characters is a line without context, and one over ten
    million is a dump of many documents that was never split.
    """

    min_characters: Annotated[_Number, Limit(Bound.AT_LEAST, "characters")] = 50
    max_characters: Annotated[_Number, Limit(Bound.AT_MOST, "characters")] = 10_000_000


GOPHER_STOP_WORDS: Final = ("the", "be", "to", "of", "and", "that", "have", "with")


class GopherQuality(RuleSet):
    """The quality rules of Gopher: Rae et al. 2021, arXiv:2112.11446, appendix A.1.1, with its thresholds.

    The paper leaves open what a word, a line, a bullet and an ellipsis are. Here each is what datatrove 0.10.1
    makes of it, on words split at white space:

    - `min_words`, `max_words` and the mean word length leave out words of symbols alone; the ratios do not.
    - A line is one of `str.splitlines()`, blank ones included; a bullet is "•" or "-"; an ellipsis is "..." or
      "…", of which six dots make two.
    - `min_stop_words` counts different stop words, as "at least two of the following words" says, each an
      entire word in this very case: neither "The" nor "the," is one.

    It differs from datatrove's filter, given the same words, in three ways:

    - What a symbol is: Unicode's punctuation, control characters and ASCII's symbols (`is_symbol`), not its list
      of 281 characters, which lacks "§", "•" and "⟦" among others. Two of 25,563 documents of real text fall on
      another side of `min_words` for it.
    - Statistics of a text without words are 0, where it divides by zero, so such a text breaks the `min_` rules.
    - A threshold of 0 is a threshold; null switches a rule off. Every broken rule is found, not the first alone.
    """

    min_words: Annotated[_Number, Limit(Bound.AT_LEAST, "non_symbol_words")] = 50
    max_words: Annotated[_Number, Limit(Bound.AT_MOST, "non_symbol_words")] = 100_000
    min_mean_word_length: Annotated[_Length, Limit(Bound.AT_LEAST, "mean_word_length")] = 3
    max_mean_word_length: Annotated[_Length, Limit(Bound.AT_MOST, "mean_word_length")] = 10
    max_symbol_word_ratio: Annotated[
        _Fraction, Limit(Bound.AT_MOST, "hash_ratio"), Limit(Bound.AT_MOST, "ellipsis_ratio")
    ] = 0.1
    max_bullet_lines: Annotated[_Fraction, Limit(Bound.AT_MOST, "bullet_line_fraction")] = 0.9
    max_ellipsis_lines: Annotated[_Fraction, Limit(Bound.AT_MOST, "ellipsis_line_fraction")] = 0.3
    min_alphabetic_words: Annotated[_Fraction, Limit(Bound.AT_LEAST, "alphabetic_word_fraction")] = 0.8
    min_stop_words: Annotated[_Number, Limit(Bound.AT_LEAST, "stop_words")] = 2
