"""Mixtures: exact shares, every row of a source once before any twice, refusals that say what to do."""

from collections import Counter, defaultdict
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from llm_assets.contract.stage import code_version
from llm_assets.stages.mix.plan import Available, MixParameters, MixturePlan, ShareError, plan_mixture

NAMES = ["books", "code", "web", "wiki"]
recipes = st.dictionaries(
    st.sampled_from(NAMES),
    st.tuples(st.integers(1, 60), st.decimals("0.01", 3, places=2).map(float)),
    min_size=1,
)


def mixture(
    rows: dict[str, int],
    shares: dict[str, float],
    *,
    seed: int = 0,
    max_repetitions: float = 1.0,
    total_rows: int | None = None,
) -> MixturePlan:
    parameters = MixParameters(shares=shares, seed=seed, max_repetitions=max_repetitions, total_rows=total_rows)
    return plan_mixture(available(rows), parameters)


def available(rows: dict[str, int]) -> dict[str, Available]:
    return {name: Available(count, 100 * count) for name, count in rows.items()}


def listed(plan: MixturePlan, first: int = 0, last: int | None = None) -> list[tuple[str, int]]:
    source, row = plan.rows_at(first, plan.total_rows if last is None else last)
    assert source.dtype == np.int16 and row.dtype == np.int64
    return [(plan.sources[index].name, number) for index, number in zip(source.tolist(), row.tolist(), strict=True)]


@settings(deadline=None)
@given(recipes, st.sampled_from([0.5, 1.0, 1.7, 3.0]), st.integers(0, 2**63 - 1))
def test_what_a_mixture_promises(recipe: dict[str, tuple[int, float]], max_repetitions: float, seed: int) -> None:
    rows = {name: 2 * count for name, (count, _) in recipe.items()}
    shares = {name: share for name, (_, share) in recipe.items()}
    plan = mixture(rows, shares, seed=seed, max_repetitions=max_repetitions)
    order = listed(plan)
    taken = Counter(name for name, _ in order)
    exact = {name: Fraction(str(share)) for name, share in shares.items()}
    total = sum(exact.values())
    assert len(order) == plan.total_rows == sum(source.taken for source in plan.sources)
    for source, share in zip(plan.sources, plan.phases[0].shares, strict=True):
        assert share == exact[source.name] / total
        assert source.taken == taken[source.name] == plan.counts(plan.total_rows)[source.name]
        assert source.available == rows[source.name]
        assert source.taken <= max_repetitions * source.available
        assert source.repetitions == source.taken / source.available
        chosen = [row for name, row in order if name == source.name]
        for begin in range(0, len(chosen), source.available):
            repetition = chosen[begin : begin + source.available]
            assert len(set(repetition)) == len(repetition)
        assert all(0 <= row < source.available for row in chosen)


@settings(deadline=None)
@given(recipes)
def test_every_prefix_has_the_shares(recipe: dict[str, tuple[int, float]]) -> None:
    plan = mixture({name: count for name, (count, _) in recipe.items()}, {n: s for n, (_, s) in recipe.items()})
    counts: dict[str, int] = defaultdict(int)
    for position, (name, _) in enumerate(listed(plan), start=1):
        counts[name] += 1
        assert plan.counts(position) == {source.name: counts[source.name] for source in plan.sources}
        shares = zip(plan.sources, plan.phases[0].shares, strict=True)
        assert all(abs(counts[source.name] - share * position) < 1 for source, share in shares)


@settings(deadline=None)
@given(recipes)
def test_without_a_number_of_rows_it_is_the_longest_that_fits(recipe: dict[str, tuple[int, float]]) -> None:
    rows = {name: count for name, (count, _) in recipe.items()}
    shares = {name: share for name, (_, share) in recipe.items()}
    plan = mixture(rows, shares)
    assert listed(mixture(rows, shares, total_rows=plan.total_rows)) == listed(plan)
    assert plan.limited_by
    with pytest.raises(ShareError) as caught:
        mixture(rows, shares, total_rows=plan.total_rows + 1)
    assert tuple(supply.name for supply in caught.value.short) == plan.limited_by


def test_chunks_are_slices_of_the_whole() -> None:
    plan = mixture({"a": 30, "b": 7, "c": 100}, {"a": 0.3, "b": 0.2, "c": 0.5}, max_repetitions=9)
    order = listed(plan)
    for size in (1, 2, 7, 64):
        chunks = [listed(plan, at, min(at + size, len(order))) for at in range(0, len(order), size)]
        assert [row for chunk in chunks for row in chunk] == order
    assert listed(plan, 5, 5) == []


def test_row_i_does_not_depend_on_the_length_of_the_mixture() -> None:
    rows, shares = {"a": 500, "b": 300}, {"a": 0.61, "b": 0.39}
    long = listed(mixture(rows, shares))
    assert listed(mixture(rows, shares, total_rows=100)) == long[:100]


def test_far_positions_are_as_good_as_near_ones() -> None:
    plan = mixture({"a": 10**10, "b": 10**10}, {"a": 0.7, "b": 0.3}, total_rows=5 * 10**9)
    middle = listed(plan, 10**9, 10**9 + 1_000)
    assert listed(plan, 10**9 + 990, 10**9 + 1_010)[:10] == middle[990:]
    assert Counter(name for name, _ in middle) == {"a": 700, "b": 300}
    assert plan.counts(10**9) == {"a": 7 * 10**8, "b": 3 * 10**8}
    assert len(set(middle)) == 1_000


def test_each_repetition_has_an_order_of_its_own() -> None:
    plan = mixture({"a": 50}, {"a": 1}, max_repetitions=3)
    rows = [row for _, row in listed(plan)]
    repetitions = [rows[:50], rows[50:100], rows[100:]]
    assert all(sorted(repetition) == list(range(50)) for repetition in repetitions)
    assert len({tuple(repetition) for repetition in repetitions}) == 3


def test_seed_and_name_change_the_rows_but_not_the_turns() -> None:
    shares, rows = {"a": 0.5, "b": 0.5}, {"a": 100, "b": 100}
    one, other = (listed(mixture(rows, shares, seed=seed)) for seed in (1, 2))
    assert [name for name, _ in one] == [name for name, _ in other]
    assert one != other
    assert [row for name, row in one if name == "a"] != [row for name, row in one if name == "b"]


def test_order_of_the_recipe_changes_nothing() -> None:
    rows = {"b": 20, "a": 10, "unused": 7}
    one = MixParameters(shares={"b": 2, "a": 1})
    other = MixParameters(shares={"a": 1.0, "b": 2.0})
    assert code_version("1", one) == code_version("1", other)
    assert listed(plan_mixture(available(rows), one)) == listed(plan_mixture(available(rows), other))
    assert [source.name for source in plan_mixture(available(rows), one).sources] == ["a", "b"]


def test_shares_are_the_decimal_numbers_as_written() -> None:
    plan = mixture({"a": 30, "b": 30, "c": 30}, {"a": 0.1, "b": 0.2, "c": 0.7})
    assert list(plan.phases[0].shares) == [Fraction(1, 10), Fraction(1, 5), Fraction(7, 10)]
    assert plan.phases[0].schedule.period == 10
    assert mixture({"a": 9}, {"a": 1e-7}).phases[0].shares == (1,)


def test_a_share_of_0_means_none() -> None:
    plan = mixture({"a": 10, "b": 10}, {"a": 1, "b": 0, "nowhere": 0})
    assert {source.name: source.taken for source in plan.sources} == {"a": 10, "b": 0, "nowhere": 0}
    assert {name for name, _ in listed(plan)} == {"a"}
    assert [source.repetitions for source in plan.sources] == [1.0, 0.0, 0.0]


def test_order_stays_the_same_between_versions() -> None:
    plan = mixture({"a": 5, "b": 3}, {"a": 0.6, "b": 0.4}, seed=42, max_repetitions=1.5)
    assert listed(plan) == [
        ("a", 1),
        ("b", 0),
        ("a", 0),
        ("a", 3),
        ("b", 1),
        ("a", 4),
        ("b", 2),
        ("a", 2),
        ("a", 1),
        ("b", 0),
    ]


def test_a_source_that_is_too_small() -> None:
    with pytest.raises(ShareError) as caught:
        mixture({"a": 500, "b": 20}, {"a": 0.7, "b": 0.3}, total_rows=100)
    (short,) = caught.value.short
    assert (short.name, short.allowed, short.available, caught.value.most_rows) == ("b", 20, 20, 66)
    for part in ("'b'", "0.3 of 100 rows needs 30 rows", "has 20", "max_repetitions 1.5 would do", "at most 66"):
        assert part in str(caught.value)
    assert mixture({"a": 500, "b": 20}, {"a": 0.7, "b": 0.3}, total_rows=66).total_rows == 66
    enough = mixture({"a": 500, "b": 20}, {"a": 0.7, "b": 0.3}, total_rows=100, max_repetitions=1.5)
    assert enough.counts(100) == {"a": 70, "b": 30}


def test_max_repetitions_in_the_message_is_enough() -> None:
    rows, shares = {"a": 7}, {"a": 1.0}
    with pytest.raises(ShareError, match=r"max_repetitions 1\.4286 would do"):
        mixture(rows, shares, total_rows=10)
    assert mixture(rows, shares, total_rows=10, max_repetitions=1.4286).total_rows == 10


@pytest.mark.parametrize("total_rows", [None, 1, 100])
def test_a_source_with_nothing_to_give(total_rows: int | None) -> None:
    for rows in ({"a": 10}, {"a": 10, "b": 0}):
        with pytest.raises(ShareError, match=r"'b'.* it has 0 rows") as caught:
            mixture(rows, {"a": 0.999, "b": 0.001}, total_rows=total_rows)
        assert "at most 0" not in str(caught.value)


def test_max_repetitions_may_leave_nothing() -> None:
    with pytest.raises(ShareError, match=r"its share of any mixture needs 1 rows; it has 3 .* allows 0 "):
        mixture({"a": 3}, {"a": 1}, max_repetitions=0.3)
    assert mixture({"a": 10}, {"a": 1}, max_repetitions=0.3).total_rows == 3


def test_an_impossible_length_is_refused_at_once() -> None:
    with pytest.raises(ShareError):
        mixture({"a": 3, "b": 3}, {"a": 0.123456789, "b": 0.5}, total_rows=10**17)


def test_a_negative_number_of_rows() -> None:
    with pytest.raises(ValueError, match="source 'a' has -1 rows"):
        mixture({"a": -1}, {"a": 1})


def test_positions_outside_the_mixture() -> None:
    plan = mixture({"a": 10}, {"a": 1})
    for first, last in ((-1, 2), (0, 11), (3, 2)):
        with pytest.raises(IndexError):
            plan.rows_at(first, last)
    with pytest.raises(IndexError):
        plan.counts(11)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"shares": {"a": -0.1, "b": 1}}, "shares.a\n.*greater than or equal to 0"),
        ({"shares": {"a": 0.0, "b": 0}}, "one above 0"),
        ({"shares": {}}, "shares\n"),
        ({"shares": {"a": float("nan")}}, "finite"),
        ({"shares": {"a": float("inf")}}, "finite"),
        ({"shares": {"a": True}}, "valid number"),
        ({"shares": {"a": "0.5"}}, "valid number"),
        ({"shares": {"a": 1.0, "b": 1e-30}}, "fewer digits"),
        ({"shares": {"a": 1.0}, "seed": -1}, "seed"),
        ({"shares": {"a": 1.0}, "max_repetitions": 0}, "max_repetitions"),
        ({"shares": {"a": 1.0}, "max_repetitions": float("nan")}, "max_repetitions"),
        ({"shares": {"a": 1.0}, "total_rows": 0}, "total_rows"),
        ({"shares": {"a": 1.0}, "epochs": 0}, "epochs"),
        ({"shares": {"a": 1.0}, "epoch": 1}, "epoch"),
        ({"shares": {"a": 1.0}, "epochs": 1, "total_rows": 5}, "only one of total_rows and epochs"),
        ({"shares": {"a": 1.0}, "sources": ["a"]}, "sources: give either shares or sources"),
        ({}, "shares: give shares, or sources"),
        ({"sources": ["a", "a"]}, "sources\n.*a is named twice"),
        ({"shares": {"t": 1, "a": 1}, "groups": {"t": ["a", "b"]}}, "a would have two shares: it is in a and in t"),
        ({"shares": {"t": 1}, "groups": {"t": ["a", "b"]}, "within": {"t": {"a": 1}}}, "within: t: .* of a, b"),
        ({"shares": {"a": 1}, "within": {"t": {"a": 1}}}, "within: t is no group of this mixture; there are: none"),
        ({"sources": ["a"], "temperature": 0}, "temperature"),
        ({"shares": {"a": 1}, "temperature": 0.5}, "temperature: no share follows from sizes"),
        (
            {"shares": {"t": 1}, "groups": {"t": ["a", "b"]}, "within": {"t": {"a": 1, "b": 2}}, "temperature": 2},
            "temperature: no share follows from sizes",
        ),
        (
            {"sources": ["a"], "phases": [{"name": "x", "shares": {"a": 1}, "temperature": 2}]},
            "phases.0.temperature: no share follows from sizes",
        ),
        (
            {"sources": ["a"], "phases": [{"name": "x", "shares": {"a": 1}}], "temperature": 2},
            "temperature: no share follows from sizes",
        ),
        (
            {"shares": {"a": 1}, "groups": {"t": ["a"]}, "phases": [{"name": "x", "sources": ["a", "t"]}]},
            "phases.0.sources: a would have two shares: .* by `within`",
        ),
        ({"shares": {"a": 1}, "snapshots": {"a": ["1", "2", "1"]}}, "snapshots.a\n.*1 is named twice"),
        ({"shares": {"a": 1}, "max_repetitions_by_source": {"b": 2}}, "max_repetitions_by_source.b: not in this"),
        ({"shares": {"a": 1}, "snapshots": {"b": ["1"]}}, "snapshots.b: not in this mixture, which has a"),
        ({"shares": {"a": 1}, "held_out": {"by_source": {"b": {"rows": 2}}}}, "held_out.by_source.b: not in"),
        ({"shares": {"a": 1}, "held_out": {"rows": 2, "tokens": 3}}, "held_out\n.*not both"),
        ({"shares": {"a": 1}, "held_out": {}}, "held_out\n.*give rows, tokens or by_source"),
        (
            {"shares": {"a": 1}, "held_out": {"by_source": {"a": {}}}},
            "held_out.by_source.a\n.*give either rows or tokens",
        ),
        ({"shares": {"a": 1}, "continues": "first", "from_row": 2}, "continues\n.*pretrain@v1"),
        ({"shares": {"a": 1}, "continues": "first@v1"}, ": give continues and from_row together"),
        ({"shares": {"a": 1}, "from_row": 1}, ": give continues and from_row together"),
        ({"phases": [{"name": "x"}]}, "shares: give shares, or sources"),
        ({"shares": {"a": 1}, "phases": [{"name": "x"}, {"name": "x", "rows": 1}]}, "two phases have the same name"),
        ({"shares": {"a": 1}, "phases": [{"name": "x"}, {"name": "y"}]}, "only one phase may be without"),
        ({"shares": {"a": 1}, "phases": [{"name": "x", "rows": 1, "tokens": 2}]}, "phases.0\n.*only one of"),
        (
            {"shares": {"a": 1}, "phases": [{"name": "x", "rows": 1}], "total_rows": 3},
            "total_rows: each phase has a length",
        ),
        ({"shares": {"a": 1}, "phases": [{"name": "x", "fraction": 0.9}]}, "add up to 0.9, not to 1"),
        (
            {"shares": {"a": 1}, "phases": [{"name": "x", "fraction": 0.9}, {"name": "y", "rows": 3}]},
            "that phase is the rest",
        ),
        (
            {"shares": {"a": 1}, "phases": [{"name": "x", "fraction": 1}, {"name": "y"}]},
            "leave nothing for the phase without",
        ),
        ({"phases": [{"name": "x", "shares": {"a": -1}}]}, "phases.0.shares.a\n.*greater than or equal to 0"),
    ],
)
def test_impossible_recipes(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MixParameters.model_validate(wrong)
