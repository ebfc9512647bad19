"""Shares that are given, of groups, and that follow from sizes."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.stages.mix.recipe import MixParameters
from llm_assets.stages.mix.shares import MixtureError, shares_of
from llm_assets.stages.mix.source_schedule import whole_weights


def shares(sizes: dict[str, int], **recipe: object) -> dict[str, Fraction]:
    (phase,) = MixParameters.model_validate(recipe).phase_shares
    return shares_of(phase, sizes)


def test_by_size_is_exact() -> None:
    assert shares({"a": 10, "b": 30, "c": 7}, sources=["b", "a"]) == {"a": Fraction(1, 4), "b": Fraction(3, 4)}


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 10**12), min_size=1),
    st.sampled_from([0.25, 0.7, 1.0, 1.43, 3.0, 10.0]),
)
def test_by_temperature(sizes: dict[str, int], temperature: float) -> None:
    found = shares(sizes, sources=[*sizes], temperature=temperature)
    largest = max(sizes.values())
    powers = {name: (size / largest) ** (1 / temperature) for name, size in sizes.items()}
    assert sum(found.values()) == 1
    whole_weights([*found.values()])
    for name, share in found.items():
        assert float(share) == pytest.approx(powers[name] / sum(powers.values()), abs=1e-8)
        assert share > 0


def test_the_published_numbers() -> None:
    """Conneau and Lample 2019, section 3.1: q = p^a / sum p^a with a = 0.5, here T = 2."""
    found = shares({"en": 900, "sw": 100}, sources=["en", "sw"], temperature=2)
    assert float(found["sw"]) == pytest.approx(0.25, abs=1e-9)


def test_a_group_is_divided_by_size_or_as_given() -> None:
    sizes, groups = {"a": 10, "b": 30, "c": 5}, {"tag:kind=prose": ["a", "b"]}
    given_shares = {"tag:kind=prose": 2, "c": 1}
    assert shares(sizes, shares=given_shares, groups=groups) == {
        "a": Fraction(1, 6),
        "b": Fraction(1, 2),
        "c": Fraction(1, 3),
    }
    within = {"tag:kind=prose": {"a": 0.3, "b": 0.1}}
    assert shares(sizes, shares=given_shares, groups=groups, within=within) == {
        "a": Fraction(1, 2),
        "b": Fraction(1, 6),
        "c": Fraction(1, 3),
    }
    assert shares(sizes, sources=["tag:kind=prose", "c"], groups=groups)["c"] == Fraction(1, 9)


def test_groups_of_huge_sizes_still_have_a_common_denominator() -> None:
    sizes = {name: 10**11 + 7**number for number, name in enumerate("abcdef")}
    groups = {"x": ["a", "b"], "y": ["c", "d"], "z": ["e", "f"]}
    found = shares(sizes, shares={"x": 0.3, "y": 0.5, "z": 0.2}, groups=groups)
    whole_weights([*found.values()])
    assert found["a"] + found["b"] == Fraction(3, 10) and sum(found.values()) == 1
    assert float(found["c"]) == pytest.approx(0.25, abs=1e-8)


def test_shares_that_were_given_are_not_rounded() -> None:
    with pytest.raises(MixtureError, match=r"phase 'whole': .* fewer digits"):
        shares(
            {"a": 1, "b": 1, "c": 1, "d": 1},
            shares={"x": 1 / 3, "y": 0.7},
            groups={"x": ["a", "b"], "y": ["c", "d"]},
            within={"x": {"a": 0.1234567891, "b": 0.7}, "y": {"c": 0.987654321, "d": 0.1234567}},
        )


def test_sizes_of_nothing() -> None:
    with pytest.raises(MixtureError, match="phase 'whole' follow from sizes, but none of its sources has a usable row"):
        shares({"a": 0}, sources=["a"])
    with pytest.raises(MixtureError, match="'t' follow from sizes"):
        shares({"c": 4}, shares={"t": 1, "c": 1}, groups={"t": ["a", "b"]})
    assert shares({"c": 4}, shares={"t": 0, "c": 1}, groups={"t": ["a", "b"]})["c"] == 1
    assert shares({"a": 0, "b": 4}, sources=["a", "b"], temperature=3)["a"] == 0


def test_repr_of_floats_is_what_a_person_wrote() -> None:
    assert shares({}, shares={"a": 0.1, "b": 0.2})["a"] == Fraction(1, 3)
