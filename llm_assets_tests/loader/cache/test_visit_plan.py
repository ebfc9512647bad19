"""Plans of what is read: against the list of visits itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, groupby, repeat

from hypothesis import given
from hypothesis import strategies as st

from llm_assets.loader.cache.visit_plan import Visit, VisitPlan

HORIZON = 20


@given(st.lists(st.integers(0, 6), min_size=1, max_size=80))
def test_a_reader_that_keeps_to_its_plan(shards: list[int]) -> None:
    plan = VisitPlan((Visit(shard, 2) for shard in shards), HORIZON)
    turns = [(shard, len([*same])) for shard, same in groupby(shards)]
    for place, (shard, _) in enumerate(turns):
        assert plan.reach(shard) and plan.reach(shard)
        after = [other for other, _ in turns[place + 1 :]]
        assert plan.over == (not after)
        assert plan.next(3) == [other for other in dict.fromkeys(after[:HORIZON]) if other != shard][:3]
        near = turns[place : place + HORIZON]  # at least
        visits, rows = plan.due(shard)
        assert len([1 for other, _ in near if other == shard]) <= visits
        assert 2 * sum(times for other, times in near[:-1] if other == shard) <= rows
        assert rows <= 2 * sum(times for other, times in turns[place:] if other == shard)
    assert plan.due(shards[-1]) == (1, 2 * turns[-1][1])


def test_other_reads_leave_it_where_it_is() -> None:
    plan = VisitPlan((Visit(shard, 1) for shard in range(40)), HORIZON)
    assert plan.next(2) == [0, 1]
    assert plan.reach(3) and plan.next(2) == [4, 5]
    assert not plan.reach(1) and not plan.reach(39) and plan.next(2) == [4, 5]
    assert plan.due(2) == (0, 0) and plan.due(4) == (1, 1)


def test_endless_plans_are_asked_for_no_more_than_the_horizon() -> None:
    asked = 0

    def visits() -> Iterator[Visit]:
        nonlocal asked
        for shard in count():
            asked += 1
            yield Visit(shard, 1)

    plan = VisitPlan(visits(), HORIZON)
    assert asked == HORIZON
    assert plan.reach(0) and asked == HORIZON + 1
    single = VisitPlan((Visit(shard, 1) for shard in repeat(0)), HORIZON)
    assert single.reach(0) and single.next(2) == []
