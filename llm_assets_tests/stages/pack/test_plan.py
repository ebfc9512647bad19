"""Packing against an obvious packer: the same plan, every token once, no cut but where it must be."""

import time
from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from llm_assets.stages.pack.plan import MAX_SEQUENCE_LENGTH, PackParameters, RowPlan, plan_rows

Piece = tuple[int, int, int]  # document, start, length


def array(lengths: list[int]) -> NDArray[np.int64]:
    return np.array(lengths, np.int64)


def rows_of(plan: RowPlan) -> list[list[Piece]]:
    pieces = list(zip(plan.piece_document.tolist(), plan.piece_start.tolist(), plan.piece_length.tolist(), strict=True))
    offsets = plan.row_offsets.tolist()
    return [pieces[begin:end] for begin, end in pairwise(offsets)]


def obvious_best_fit(lengths: list[int], sequence_length: int) -> list[list[Piece]]:
    """Best-fit decreasing as one would write it first: look at every row for every piece."""
    pieces: list[Piece] = []
    for document, length in enumerate(lengths):
        for start in range(0, length, sequence_length):
            pieces.append((document, start, min(sequence_length, length - start)))
    pieces.sort(key=lambda piece: -piece[2])
    rows: list[list[Piece]] = []
    room: list[int] = []
    last_filled: list[int] = []
    for turn, piece in enumerate(pieces):
        fitting = [row for row in range(len(rows)) if room[row] >= piece[2]]
        if fitting:
            row = min(fitting, key=lambda row: (room[row], -last_filled[row]))
        else:
            row = len(rows)
            rows.append([])
            room.append(sequence_length)
            last_filled.append(turn)
        rows[row].append(piece)
        room[row] -= piece[2]
        last_filled[row] = turn
    return [sorted(row) for row in rows]


documents = st.lists(st.integers(0, 40) | st.integers(0, 7), max_size=60)


@settings(deadline=None)
@given(documents, st.integers(1, 33), st.integers(0, 2**63 - 1))
def test_plan_is_the_obvious_best_fit(lengths: list[int], sequence_length: int, seed: int) -> None:
    plan = plan_rows(array(lengths), sequence_length, seed)
    assert sorted(rows_of(plan)) == sorted(obvious_best_fit(lengths, sequence_length))
    assert plan.pieces == sum(map(len, rows_of(plan)))
    assert plan.row_offsets.dtype == plan.piece_document.dtype == plan.piece_start.dtype == np.int64
    assert plan.piece_length.dtype == np.int32


@settings(deadline=None)
@given(documents, st.integers(1, 33))
def test_every_token_is_in_one_place_and_only_long_documents_are_cut(lengths: list[int], sequence_length: int) -> None:
    places: dict[int, list[int]] = defaultdict(list)
    pieces: dict[int, int] = defaultdict(int)
    for row in rows_of(plan_rows(array(lengths), sequence_length, 0)):
        assert 0 < sum(length for _, _, length in row) <= sequence_length
        assert [document for document, _, _ in row] == sorted(document for document, _, _ in row)
        for document, start, length in row:
            places[document] += range(start, start + length)
            pieces[document] += 1
    for document, length in enumerate(lengths):
        assert sorted(places[document]) == list(range(length))
        assert pieces[document] == -(-length // sequence_length)


def test_against_the_obvious_packer_at_a_real_size() -> None:
    lengths = np.random.default_rng(7).lognormal(5, 1.2, 2_000).astype(np.int64)
    plan = plan_rows(lengths, 512, 3)
    assert sorted(rows_of(plan)) == sorted(obvious_best_fit(lengths.tolist(), 512))


def test_nothing_to_pack() -> None:
    for lengths in ([], [0, 0]):
        plan = plan_rows(array(lengths), 8, 0)
        assert (plan.rows, plan.pieces, plan.documents) == (0, 0, len(lengths))
        assert plan.row_offsets.tolist() == [0]


@pytest.mark.parametrize("sequence_length", [1, 2, 3, 63, 64, 65, MAX_SEQUENCE_LENGTH])
def test_lengths_around_the_row(sequence_length: int) -> None:
    lengths = [sequence_length, sequence_length + 1, 3 * sequence_length, 1, sequence_length - 1, 0]
    rows = rows_of(plan_rows(array(lengths), sequence_length, 1))
    assert sum(length for row in rows for _, _, length in row) == sum(lengths)
    assert sorted(rows) == sorted(obvious_best_fit(lengths, sequence_length))


def test_seed_changes_the_order_of_rows_and_nothing_else() -> None:
    lengths = np.random.default_rng(0).integers(1, 400, 3_000)
    one, again, other = (plan_rows(lengths, 256, seed) for seed in (1, 1, 2))
    assert rows_of(one) == rows_of(again)
    assert rows_of(one) != rows_of(other)
    assert sorted(rows_of(one)) == sorted(rows_of(other))


def test_order_of_rows_says_nothing_about_their_length() -> None:
    lengths = np.random.default_rng(0).lognormal(5, 1.2, 50_000).astype(np.int64)
    plan = plan_rows(lengths, 1024, 0)
    longest = np.maximum.reduceat(plan.piece_length, plan.row_offsets[:-1])
    correlation = np.corrcoef(np.arange(plan.rows), longest)[0, 1]
    assert abs(correlation) < 4 / np.sqrt(plan.rows)


def test_plan_stays_the_same_between_versions() -> None:
    plan = plan_rows(array([5, 3, 9, 0, 4, 4, 1, 17, 2]), 8, 42)
    assert rows_of(plan) == [
        [(7, 0, 8)],
        [(4, 0, 4), (5, 0, 4)],
        [(0, 0, 5), (1, 0, 3)],
        [(2, 8, 1), (6, 0, 1), (7, 16, 1), (8, 0, 2)],
        [(2, 0, 8)],
        [(7, 8, 8)],
    ]


def test_a_million_documents_take_seconds_at_most() -> None:
    lengths = np.random.default_rng(0).lognormal(6, 1.1, 1_000_000).astype(np.int64)
    plan_rows(lengths[:10], 1024, 0)
    started = time.process_time()
    plan = plan_rows(lengths, 1024, 0)
    assert time.process_time() - started < 5
    assert plan.piece_length.sum(dtype=np.int64) == lengths.sum()


@pytest.mark.parametrize(
    ("lengths", "sequence_length", "seed", "error", "message"),
    [
        (array([3, -1, 2]), 8, 0, ValueError, "document 1 has a length of -1"),
        (array([3]), 0, 0, ValueError, "sequence_length is 0"),
        (array([3]), MAX_SEQUENCE_LENGTH + 1, 0, ValueError, "sequence_length"),
        (array([3]), 8, -1, ValueError, "seed is -1"),
        (np.array([3], np.int32), 8, 0, TypeError, "int32"),
        (np.array([[3]], np.int64), 8, 0, TypeError, r"\[1, 1\]"),
    ],
)
def test_impossible_arguments(
    lengths: NDArray[np.int64], sequence_length: int, seed: int, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        plan_rows(lengths, sequence_length, seed)


@pytest.mark.parametrize("wrong", [{"sequence_length": 0}, {"sequence_length": 2**20 + 1}, {"seed": -1}])
def test_impossible_parameters(wrong: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        PackParameters(**{"sequence_length": 8, **wrong})
