"""Of finds that overlap the longest remain, whatever their order; counts are those of the spans."""

from __future__ import annotations

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


@given(finds, st.randoms())
@example([Find(0, 0, 4, 1), Find(0, 3, 8, 1), Find(0, 7, 11, 1)], None)
def test_longest_then_most_specific_then_leftmost(every: list[Find], random: object) -> None:
    taken: list[Find] = []
    for find in sorted(every, key=lambda find: (-(find.stop - find.start), find.kind, find.start)):
        if not any(_overlap(find, other) for other in taken):
            taken.append(find)
    assert without_overlaps(every) == sorted(taken)
    assert without_overlaps(reversed(every)) == sorted(taken)


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
