"""Computes the exact shares of a phase by source, from given shares and from sizes.

Guarantees fractions that add up to 1 with a common denominator of at most `MAX_PERIOD`. Given shares are never rounded.
Shares that follow from sizes are rounded to billionths where their temperature is not 1 or their common denominator
would be too large.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Context, Decimal
from fractions import Fraction

from llm_assets.errors import LlmAssetsError
from llm_assets.stages.mix.recipe import PhaseShares, exact
from llm_assets.stages.mix.source_schedule import MAX_PERIOD, whole_weights

BILLION = 10**9
_CONTEXT = Context(prec=40)


class MixtureError(LlmAssetsError, ValueError):
    """The recipe cannot be followed with the rows of its sources. The message names a remedy."""


def shares_of(shares: PhaseShares, sizes: Mapping[str, int]) -> dict[str, Fraction]:
    """The share of each source of a phase: fractions that add up to 1.

    `sizes` are the usable rows of each source. Raises MixtureError where the sources of a share that follows from sizes
    have no rows.
    """
    exactly = _shares(shares, sizes, rounded=False)
    if _can_be_kept(exactly) is None:
        return exactly
    rounded = _shares(shares, sizes, rounded=True)
    if why := _can_be_kept(rounded):
        raise MixtureError(f"phase {shares.phase!r}: {why}")
    return rounded


def _can_be_kept(shares: Mapping[str, Fraction]) -> str | None:
    """The reason why a schedule cannot keep the shares; None where it can."""
    try:
        whole_weights([*shares.values()])
    except ValueError as error:
        return str(error)
    return None


def _shares(shares: PhaseShares, sizes: Mapping[str, int], *, rounded: bool) -> dict[str, Fraction]:
    if shares.shares is None:
        terms = {term: sum(sizes.get(name, 0) for name in shares.members(term)) for term in shares.terms}
        of_terms = divided(terms, shares.temperature, rounded=rounded, what=f"phase {shares.phase!r}")
    else:
        total = sum(map(exact, shares.shares.values()))
        of_terms = {term: exact(share) / total for term, share in shares.shares.items()}
    found: dict[str, Fraction] = {}
    for term, share in of_terms.items():
        for name, part in _parts(shares, term, share, sizes, rounded=rounded).items():
            found[name] = share * part
    return found


def _parts(
    shares: PhaseShares, term: str, share: Fraction, sizes: Mapping[str, int], *, rounded: bool
) -> dict[str, Fraction]:
    """The parts of a term's sources in its share; they add up to 1."""
    if term not in shares.groups:
        return {term: Fraction(1)}
    if term in shares.within:
        total = sum(map(exact, shares.within[term].values()))
        return {name: exact(part) / total for name, part in shares.within[term].items()}
    if not share:
        return dict.fromkeys(shares.members(term), Fraction(1, len(shares.members(term))))
    members = {name: sizes.get(name, 0) for name in shares.members(term)}
    return divided(members, shares.temperature, rounded=rounded, what=repr(term))


def divided(sizes: Mapping[str, int], temperature: Fraction, *, rounded: bool, what: str) -> dict[str, Fraction]:
    """Parts of 1 in the proportion size^(1 / temperature); 0 for a size of 0.

    Computed in decimals of 40 digits, so that every machine gets the same. Rounded parts are billionths, at least one;
    the largest part takes the rounding error.
    """
    if not any(sizes.values()):
        raise MixtureError(
            f"the shares of {what} follow from sizes, but none of its sources has a usable row: add rows or give shares"
        )
    if temperature == 1 and not rounded and sum(sizes.values()) <= MAX_PERIOD:
        return {name: Fraction(size, sum(sizes.values())) for name, size in sizes.items()}
    exponent = _CONTEXT.divide(Decimal(temperature.denominator), Decimal(temperature.numerator))
    largest = max(sizes.values())
    # relative to the largest: at most 1, however small the temperature
    powers = {
        name: _CONTEXT.power(_CONTEXT.divide(Decimal(size), Decimal(largest)), exponent) if size else Decimal(0)
        for name, size in sizes.items()
    }
    total = Decimal(0)
    for name in sorted(powers):
        total = _CONTEXT.add(total, powers[name])
    parts = {
        name: max(1, round(_CONTEXT.divide(_CONTEXT.multiply(power, Decimal(BILLION)), total))) if sizes[name] else 0
        for name, power in powers.items()
    }
    most = max(sorted(parts), key=lambda name: parts[name])
    parts[most] += BILLION - sum(parts.values())
    return {name: Fraction(part, BILLION) for name, part in parts.items()}
