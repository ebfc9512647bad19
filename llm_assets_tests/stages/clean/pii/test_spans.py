"""Of finds that overlap the best remain, whatever their order; counts are those of the spans."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llm_assets.stages.clean.pii.spans import KINDS, PATTERN_KINDS, Find, Kind, Spans, without_overlaps

finds = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(1, 12), st.integers(0, len(KINDS) - 1)).map(
        lambda each: Find(each[0], each[1], each[1] + each[2], each[3])
    ),
    max_size=25,
)


def _overlap(left: Find, right: Find) -> bool:
    return left.document == right.document and left.start < right.stop and right.start < left.stop


@st.composite
def ranks(draw: st.DrawFn) -> list[list[Kind]]:
    """All kinds, dealt out to one to three ranks."""
    dealt = draw(st.lists(st.integers(0, 2), min_size=len(KINDS), max_size=len(KINDS)))
    return [[kind for kind, place in zip(KINDS, dealt, strict=True) if place == rank] for rank in range(3)]


@given(finds, ranks())
@example([Find(0, 0, 4, 1), Find(0, 3, 8, 1), Find(0, 7, 11, 1)], [list(KINDS)])
def test_who_is_left_out_overlaps_a_better_one(every: list[Find], ranks: list[list[Kind]]) -> None:
    """Better: of an earlier rank, then longer, then of a more specific kind, then further left. That decides all."""
    rank_of = {KINDS.index(kind): rank for rank, kinds in enumerate(ranks) for kind in kinds}

    def worth(find: Find) -> tuple[int, int, int, int]:
        return rank_of[find.kind], -(find.stop - find.start), find.kind, find.start

    kept = without_overlaps(every, ranks)
    assert kept == without_overlaps(reversed(every), ranks) == sorted(set(kept) & set(every))
    assert not any(_overlap(left, right) for left, right in combinations(kept, 2))
    for find in set(every) - set(kept):
        assert any(_overlap(find, other) and worth(other) < worth(find) for other in kept)


def test_a_long_chain_of_overlaps_is_no_trouble() -> None:
    chain = [Find(0, start, start + 3, 0) for start in range(0, 100_000, 2)]
    assert len(without_overlaps(chain)) == 25_000


@given(finds)
def test_counts_and_bytes_are_those_of_the_spans(every: list[Find]) -> None:
    spans = Spans.of(without_overlaps(every))
    counts = spans.counts(3)
    for document in range(3):
        for code in range(len(KINDS)):
            chosen = [find for find in spans.finds() if (find.document, find.kind) == (document, code)]
            assert counts[document, code] == len(chosen)
    covered = [sum(find.stop - find.start for find in spans.finds() if find.kind == code) for code in range(len(KINDS))]
    assert spans.bytes_by_kind().tolist() == covered


def test_spans_of_some_kinds() -> None:
    spans = Spans.of([Find(1, 0, 3, KINDS.index(Kind.EMAIL)), Find(0, 5, 7, KINDS.index(Kind.IP))])
    assert spans.of_kinds([Kind.IP]).finds() == [Find(0, 5, 7, KINDS.index(Kind.IP))]
    assert len(spans.of_kinds([])) == 0


def test_no_spans() -> None:
    spans = Spans.of([])
    assert len(spans) == 0
    assert spans.counts(2).tolist() == np.zeros((2, len(KINDS)), np.int64).tolist()
    assert spans.counts(0).shape == (0, len(KINDS))


@pytest.mark.parametrize("kind", [Kind.PERSON, Kind.LOCATION])
def test_names_and_places_have_no_pattern(kind: Kind) -> None:
    assert kind in KINDS
    assert kind not in PATTERN_KINDS
