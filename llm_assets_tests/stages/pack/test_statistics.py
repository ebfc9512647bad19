"""The recount: right for a right plan, and it finds what a wrong one lost, doubled or cut."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.stages.pack.plan import RowPlan, plan_rows
from llm_assets.stages.pack.statistics import PackStatistics

LENGTHS = np.array([5, 20, 0, 3, 8], np.int64)


def edited(plan: RowPlan, pieces: list[tuple[int, int, int]]) -> RowPlan:
    """A plan with one row for each of the given pieces (document, start, length)."""
    document, start, length = np.array(pieces, np.int64).T.copy()
    return replace(
        plan,
        row_offsets=np.arange(len(pieces) + 1),
        piece_document=document,
        piece_start=start,
        piece_length=length.astype(np.int32),
    )


def pieces_of(plan: RowPlan) -> list[tuple[int, int, int]]:
    return sorted(zip(plan.piece_document.tolist(), plan.piece_start.tolist(), plan.piece_length.tolist(), strict=True))


@settings(deadline=None)
@given(st.lists(st.integers(0, 50), max_size=50), st.integers(1, 20))
def test_counts_of_a_right_plan(lengths: list[int], sequence_length: int) -> None:
    plan = plan_rows(np.array(lengths, np.int64), sequence_length, 5)
    rows = plan.rows
    assert PackStatistics.count(plan, np.array(lengths, np.int64)) == PackStatistics(
        documents=len(lengths),
        empty_documents=lengths.count(0),
        tokens=sum(lengths),
        rows=rows,
        pieces=plan.pieces,
        fill=sum(lengths) / (rows * sequence_length) if rows else 0.0,
        unavoidable_splits=sum(len(range(sequence_length, length, sequence_length)) for length in lengths),
        avoidable_splits=0,
        discarded_tokens=0,
        repeated_tokens=0,
    )


def test_a_lost_piece_is_discarded_tokens() -> None:
    plan = plan_rows(LENGTHS, 8, 0)
    lost = [piece for piece in pieces_of(plan) if piece[0] != 3]
    statistics = PackStatistics.count(edited(plan, lost), LENGTHS)
    assert (statistics.discarded_tokens, statistics.repeated_tokens, statistics.avoidable_splits) == (3, 0, 0)


def test_a_doubled_piece_does_not_hide_a_lost_one() -> None:
    plan = plan_rows(LENGTHS, 8, 0)
    pieces = [piece for piece in pieces_of(plan) if piece != (1, 8, 8)] + [(1, 0, 8)]
    statistics = PackStatistics.count(edited(plan, pieces), LENGTHS)
    assert (statistics.discarded_tokens, statistics.repeated_tokens) == (8, 8)
    assert (statistics.unavoidable_splits, statistics.avoidable_splits) == (2, 0)


def test_a_cut_in_a_short_document_is_avoidable() -> None:
    plan = plan_rows(LENGTHS, 8, 0)
    pieces = [piece for piece in pieces_of(plan) if piece[0] != 0] + [(0, 0, 2), (0, 2, 3)]
    statistics = PackStatistics.count(edited(plan, pieces), LENGTHS)
    assert (statistics.unavoidable_splits, statistics.avoidable_splits) == (2, 1)
    assert (statistics.discarded_tokens, statistics.repeated_tokens) == (0, 0)


def test_tokens_beyond_the_end_of_a_document_are_no_tokens_of_it() -> None:
    plan = plan_rows(LENGTHS, 8, 0)
    pieces = [piece for piece in pieces_of(plan) if piece[0] != 3] + [(3, 1, 3)]
    statistics = PackStatistics.count(edited(plan, pieces), LENGTHS)
    assert (statistics.discarded_tokens, statistics.repeated_tokens) == (1, 1)


def test_a_plan_for_other_documents() -> None:
    with pytest.raises(ValueError, match="5 documents, but there are 4 lengths"):
        PackStatistics.count(plan_rows(LENGTHS, 8, 0), LENGTHS[:4])
