"""Random recipes against brute force: counts at any position, phases, continuations without a repeat or a loss."""

from __future__ import annotations

import math
import os
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from llm_assets.stages.mix.plan import (
    Available,
    MixParameters,
    MixtureError,
    MixturePlan,
    ShareError,
    consumed_before,
    plan_mixture,
)
from llm_assets.stages.mix.source_schedule import SourceSchedule
from llm_assets.stages.mix.training_order import TrainingOrder
from llm_assets_tests.stages.mix.worlds import NAMES, Uses, obvious_order, recipe, sizes

TRIALS = 1_000 if os.environ.get("LLM_ASSETS_TORTURE") == "full" else 100
SIZES = {"a": Available(100, 10_000), "b": Available(50, 4_000), "c": Available(10, 1_000)}


def plan_of(available: dict[str, Available] = SIZES, **fields: object) -> MixturePlan:
    return plan_mixture(available, MixParameters.model_validate(fields))


def lengths(plan: MixturePlan) -> dict[str, int]:
    return {phase.name: phase.rows for phase in plan.phases}


@pytest.mark.torture
def test_counts_equal_brute_force_at_every_position_of_random_recipes() -> None:
    generator = np.random.default_rng(11)
    for _ in range(TRIALS):
        plan = plan_mixture(sizes(generator), recipe(generator))
        turns = obvious_order(plan)
        source, row = plan.rows_at(0, plan.total_rows)
        assert source.tolist() == turns
        assert plan.order.turns(0, plan.total_rows).tolist() == turns
        running = np.zeros((plan.total_rows + 1, len(plan.sources)), np.int64)
        np.cumsum(np.array(turns)[:, None] == np.arange(len(plan.sources)), axis=0, out=running[1:])
        for position in {0, plan.total_rows, *generator.integers(0, plan.total_rows + 1, 5).tolist()}:
            assert [*plan.counts(position).values()] == running[position].tolist()
        for phase in plan.phases:
            within = running[phase.first : phase.last + 1] - running[phase.first]
            for number, share in enumerate(phase.shares):
                exact = [Fraction(share * t) for t in range(phase.rows + 1)]
                assert all(abs(count - e) < 1 for count, e in zip(within[:, number].tolist(), exact, strict=True))
        uses = Uses()
        for planned in plan.sources:
            uses.grow(planned.name, planned.stream.rows)
            uses.never(planned.name, planned.stream.held_out_rows(0, planned.stream.held_out))
            assert planned.taken <= planned.allowed
        for s, r in zip(source.tolist(), row.tolist(), strict=True):
            uses.use(plan.names[s], r)


@pytest.mark.torture
def test_continuations_repeat_nothing_and_lose_nothing() -> None:
    generator = np.random.default_rng(12)
    continued = 0
    for _ in range(TRIALS):
        there, uses, kept = sizes(generator), Uses(), 50.0
        plan = plan_mixture(there, recipe(generator, max_repetitions=kept, total_rows=int(generator.integers(30, 90))))
        begun: set[str] = set()
        for _ in range(int(generator.integers(1, 5))):
            stop = int(generator.integers(0, plan.total_rows + 1))
            for planned in plan.sources:
                uses.grow(planned.name, planned.stream.rows)
                uses.never(planned.name, planned.stream.held_out_rows(0, planned.stream.held_out))
            begun |= {*plan.names}
            source, row = plan.rows_at(0, stop)
            for s, r in zip(source.tolist(), row.tolist(), strict=True):
                uses.use(plan.names[s], r)
            before = consumed_before(plan.as_dict(), stop)
            assert before == plan.consumed(stop) and {*before} == begun
            for name in NAMES:
                if generator.random() < 0.4:
                    more = int(generator.integers(1, 30))
                    there[name] = Available(there[name].rows + more, 1, there[name].held_out)
            try:
                fields = {"max_repetitions": kept, "seed": None, "total_rows": int(generator.integers(30, 90))}
                plan = plan_mixture(there, recipe(generator, **fields, continues="m@v1", from_row=stop), before)
            except ShareError:
                break
            continued += 1
        assert len({each.stream.seed for each in plan.consumed(0).values()}) == 1
    assert continued > TRIALS


def test_a_continuation_with_the_same_recipe_is_the_rest() -> None:
    whole = plan_of(shares={"a": 2, "b": 1}, seed=5, max_repetitions=2)
    before = whole.consumed(30)
    rest = plan_mixture(
        SIZES, MixParameters(shares={"a": 2, "b": 1}, max_repetitions=2, continues="m@v1", from_row=30), before
    )
    assert rest.seed == 5 and rest.total_rows == whole.total_rows - 30
    for one, other in zip(rest.rows_at(0, rest.total_rows), whole.rows_at(30, whole.total_rows), strict=True):
        assert np.array_equal(one, other)
    assert [source.begin for source in rest.sources] == [20, 10]


def test_what_was_used_counts_as_a_repetition() -> None:
    before = plan_of(shares={"a": 1, "b": 1}).consumed(60)
    recipe = MixParameters(shares={"b": 1}, continues="m@v1", from_row=60)
    plan = plan_mixture(SIZES, recipe, before)
    assert plan.total_rows == 20 and plan.limited_by == ("b",) and {*plan.idle} == {"a"}
    with pytest.raises(ShareError, match=r"allows 50, of which 30 are used up before \(max_repetitions 1.2 would do\)"):
        plan_mixture(SIZES, recipe.model_copy(update={"total_rows": 30}), before)
    with pytest.raises(MixtureError, match="seed: 3, but m@v1 has 0: leave the seed out"):
        plan_mixture(SIZES, recipe.model_copy(update={"seed": 3}), before)


def test_a_source_that_was_left_out_comes_back_where_it_was() -> None:
    first = plan_of(shares={"a": 1, "b": 1}).consumed(40)
    second = plan_mixture(SIZES, MixParameters(shares={"a": 1}, continues="m@v1", from_row=40), first)
    third = plan_mixture(
        SIZES,
        MixParameters(shares={"a": 1, "b": 1}, continues="m@v2", from_row=10),
        consumed_before(second.as_dict(), 10),
    )
    assert {source.name: source.begin for source in third.sources} == {"a": 30, "b": 20}


def test_lengths_of_phases() -> None:
    two = [{"name": "x", "fraction": 0.9}, {"name": "y", "fraction": 0.1}]
    assert lengths(plan_of(shares={"a": 1}, phases=two, total_rows=33)) == {"x": 29, "y": 4}
    rest = [{"name": "x"}, {"name": "y", "rows": 7}]
    assert lengths(plan_of(shares={"a": 1}, phases=rest)) == {"x": 93, "y": 7}
    fixed = [{"name": "x", "rows": 5}, {"name": "y", "tokens": 301}]
    assert lengths(plan_of(shares={"a": 1}, phases=fixed)) == {"x": 5, "y": 4}
    mixed = [{"name": "x"}, {"name": "y", "fraction": 0.2, "shares": {"c": 1}}, {"name": "z", "rows": 1}]
    plan = plan_of(shares={"a": 1}, phases=mixed, total_rows=50)
    assert lengths(plan) == {"x": 39, "y": 10, "z": 1}
    assert plan.counts(50) == {"a": 40, "c": 10} and plan.counts(44) == {"a": 39, "c": 5}
    assert [(phase.first, phase.last) for phase in plan.phases] == [(0, 39), (39, 49), (49, 50)]


def test_a_phase_goes_on_where_the_one_before_stopped() -> None:
    phases = [{"name": "x", "rows": 30}, {"name": "y", "rows": 70, "shares": {"a": 1}}]
    plan = plan_of(shares={"a": 1, "b": 1}, phases=phases)
    source, row = plan.rows_at(0, 100)
    assert plan.counts(100) == {"a": 85, "b": 15}
    assert Counter(zip(source.tolist(), row.tolist(), strict=True)).most_common(1)[0][1] == 1


@pytest.mark.parametrize("total", [10**3, 777, 7_501])
def test_tokens_become_rows_by_the_mean(total: int) -> None:
    plan = plan_of(shares={"a": 1, "b": 1}, total_tokens=total)  # 100 and 80 tokens in a row
    assert plan.total_rows == math.ceil(total / 90)


def test_epochs() -> None:
    plan = plan_of(sources=["a", "b"], epochs=1)
    assert plan.counts(plan.total_rows) == {"a": 100, "b": 50}
    plan = plan_of(sources=["a", "b"], epochs=1.5, max_repetitions=2)
    assert plan.counts(plan.total_rows) == {"a": 150, "b": 75}
    with pytest.raises(ShareError, match=r"needs 200 rows.*\(max_repetitions 2.0 would do\)"):
        plan_of(sources=["a", "b"], epochs=2)
    held = {"a": Available(100, 100, 10), "b": Available(50, 50, 5)}
    assert plan_of(held, sources=["a", "b"], epochs=1).total_rows == 135


def test_repetitions_by_source() -> None:
    plan = plan_of(shares={"a": 1, "c": 1}, max_repetitions_by_source={"c": 4})
    assert plan.total_rows == 80 and plan.limited_by == ("c",)
    assert {source.name: source.repetitions for source in plan.sources} == {"a": 0.4, "c": 4.0}


def test_the_longest_is_as_long_as_can_be() -> None:
    generator = np.random.default_rng(13)
    for _ in range(100):
        there, parameters = sizes(generator), recipe(generator)
        plan = plan_mixture(there, parameters)
        assert plan.limited_by
        with pytest.raises(ShareError) as caught:
            plan_mixture(there, parameters.model_copy(update={"total_rows": plan.total_rows + 1}))
        assert tuple(supply.name for supply in caught.value.short) == plan.limited_by
        again = plan_mixture(there, parameters.model_copy(update={"total_rows": plan.total_rows}))
        assert np.array_equal(again.rows_at(0, plan.total_rows), plan.rows_at(0, plan.total_rows))


def test_refusals_say_what_would_do() -> None:
    phases = [{"name": "x", "fraction": 0.5}, {"name": "y", "fraction": 0.5, "shares": {"c": 1}}]
    with pytest.raises(ShareError) as caught:
        plan_of(shares={"a": 1}, phases=phases, total_rows=100)
    for part in ("source 'c': its share of 1 of 50 rows (y) needs 50 rows", "max_repetitions 5.0 would do", "most 20"):
        assert part in str(caught.value)
    with pytest.raises(ShareError, match=r"1 of 500 rows \(x\) and 1 of 9 rows \(y\) needs 509 rows") as caught:
        plan_of(shares={"a": 1}, phases=[{"name": "x", "rows": 500}, {"name": "y", "rows": 9}])
    assert "in all" not in str(caught.value)
    with pytest.raises(MixtureError, match="phase 'y' would have no row"):
        plan_of(shares={"a": 1}, phases=[{"name": "x"}, {"name": "y", "fraction": 0.01}], total_rows=9)
    with pytest.raises(MixtureError, match="5 rows in all are too few: the phases of fixed length have 7"):
        plan_of(shares={"a": 1}, phases=[{"name": "x"}, {"name": "y", "rows": 7}], total_rows=5)
    with pytest.raises(MixtureError, match="phase 'x': its length is in tokens"):
        plan_of({"a": Available(5, 0)}, shares={"a": 1}, phases=[{"name": "x", "tokens": 7}])


def test_a_plan_is_read_without_a_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    phases = [{"name": "x", "fraction": 0.3}, {"name": "y", "shares": {"b": 3, "c": 1}}]
    plan = plan_of(shares={"a": 2, "b": 1}, phases=phases, total_rows=40, max_repetitions=9)
    written = plan.as_dict()
    older = {
        **written,
        "phases": [{key: each[key] for key in ("name", "rows", "weights")} for each in written["phases"]],
    }
    expected = {position: plan.consumed(position) for position in range(41)}
    assert all(consumed_before(older, position) == at for position, at in expected.items())
    monkeypatch.setattr(SourceSchedule, "make", None)
    assert all(consumed_before(written, position) == at for position, at in expected.items())
    read = TrainingOrder.from_dict(plan.seed, written)
    for one, other in zip(read.rows_at(7, 35), plan.rows_at(7, 35), strict=True):
        assert np.array_equal(one, other)
    assert [phase.shares for phase in read.phases] == [phase.shares for phase in plan.phases]
    assert read.as_dict() == plan.order.as_dict()


def test_order_does_not_depend_on_where_it_is_asked() -> None:
    generator = np.random.default_rng(14)
    for _ in range(20):
        plan = plan_mixture(sizes(generator), recipe(generator))
        whole = np.array(plan.rows_at(0, plan.total_rows))
        for _ in range(10):
            first, last = sorted(generator.integers(0, plan.total_rows + 1, 2).tolist())
            assert np.array_equal(np.array(plan.rows_at(first, last)), whole[:, first:last])
