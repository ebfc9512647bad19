import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.loader.runs import PADDING, RowError, runs_of
from llm_assets.store.shards.shard_set import DocumentLengths

PACKED = 12


def documents_of(rows: list[list[int]]) -> DocumentLengths:
    offsets = np.cumsum([0, *map(len, rows)])
    return DocumentLengths(offsets, np.array([length for row in rows for length in row], np.int32))


@st.composite
def row(draw: st.DrawFn) -> list[int]:
    lengths = [draw(st.integers(1, PACKED))]
    while sum(lengths) < PACKED and draw(st.booleans()):
        lengths.append(draw(st.integers(1, PACKED - sum(lengths))))
    return lengths


@given(rows=st.lists(row(), min_size=1, max_size=6), length=st.sampled_from([1, 2, 3, 4, 6, 12]), data=st.data())
def test_runs_equal_tokens_labelled_one_by_one(rows: list[list[int]], length: int, data: st.DataObject) -> None:
    tokens: list[tuple[int, int]] = []  # short row, and number of the document in the packed row, -1 for padding
    for number, lengths in enumerate(rows):
        owners = [place for place, size in enumerate(lengths) for _ in range(size)]
        owners += [-1] * (PACKED - len(owners))
        tokens += [((number * PACKED + place) // length, owner) for place, owner in enumerate(owners)]
    runs = runs_of(documents_of(rows), PACKED, length)
    assert runs.rows == len(rows) * PACKED // length
    keep = data.draw(st.lists(st.booleans(), min_size=runs.rows, max_size=runs.rows).filter(any))
    kept = [token for token in tokens if keep[token[0]]]
    selected = runs.select(np.array(keep))
    starts = [place for place, token in enumerate(kept) if place == 0 or kept[place - 1] != token]
    assert selected.starts.tolist() == starts
    assert selected.is_padding.tolist() == [kept[start][1] == -1 for start in starts]
    assert selected.ends().tolist() == [*starts[1:], len(kept)]
    numbers: list[int] = []
    for place, start in enumerate(starts):
        new_row = place == 0 or kept[starts[place - 1]][0] != kept[start][0]
        numbers.append(0 if new_row else numbers[-1] + 1)
    assert selected.numbers.tolist() == [
        PADDING if is_padding else number for number, is_padding in zip(numbers, selected.is_padding, strict=True)
    ]


@pytest.mark.parametrize(
    ("rows", "row", "problem"),
    [
        ([[5, 7], [5, 0, 7]], 1, "without tokens"),
        ([[1], [5, -2, 9]], 1, "without tokens"),
        ([[5, 8]], 0, "13 tokens in 12"),
        ([[1], [1], [1 << 30, 1 << 30, 1 << 30]], 2, "3221225472 tokens"),
        ([[3], []], 1, "no document"),
        ([[], [3]], 0, "no document"),
    ],
)
def test_lengths_that_do_not_fit_name_the_row(rows: list[list[int]], row: int, problem: str) -> None:
    with pytest.raises(RowError, match=problem) as caught:
        runs_of(documents_of(rows), PACKED, PACKED)
    assert caught.value.row == row
