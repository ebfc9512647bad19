"""Gathered rows: documents come back whole from them, whatever the parts, the dtype and the chunks."""

import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from llm_assets.stages.pack.plan import RowPlan, plan_rows
from llm_assets.stages.pack.rows import DocumentTokens, document_lengths, gather_rows

TEST_DATA = Path(os.environ.get("LLM_ASSETS_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
PAD = 60_000


def part(documents: list[NDArray[np.uint16]], before: int = 0) -> DocumentTokens:
    """Documents as one part, its tokens beginning after some that belong to no document."""
    tokens = np.concatenate([np.full(before, 9, np.uint16), *documents]).astype(np.uint16)
    offsets = np.cumsum([before, *map(len, documents)]).astype(np.int64)
    return DocumentTokens(tokens, offsets)


def documents_in(
    plan: RowPlan, rows: NDArray[np.uint16], offsets: NDArray[np.int32], lengths: NDArray[np.int32]
) -> list[NDArray[np.uint16]]:
    """The documents of a packed set, read from the rows and the lengths beside them."""
    documents = [
        np.full(count, PAD, rows.dtype)
        for count in np.bincount(plan.piece_document, plan.piece_length, plan.documents).astype(int)
    ]
    for row in range(plan.rows):
        at = 0
        for piece in range(offsets[row], offsets[row + 1]):
            document, start = plan.piece_document[piece], plan.piece_start[piece]
            documents[document][start : start + lengths[piece]] = rows[row, at : at + lengths[piece]]
            at += lengths[piece]
        assert np.all(rows[row, at:] == PAD)
    return documents


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 30), max_size=40),
    st.lists(st.integers(0, 40), max_size=4),
    st.integers(1, 20),
    st.integers(0, 5),
)
def test_documents_come_back_from_the_rows(
    lengths: list[int], cuts: list[int], sequence_length: int, before: int
) -> None:
    documents = np.split(np.arange(sum(lengths), dtype=np.uint16), np.cumsum(lengths))[: len(lengths)]
    bounds = [0, *sorted(min(cut, len(lengths)) for cut in cuts), len(lengths)]
    parts = [part(documents[a:b], before) for a, b in pairwise(bounds)]
    plan = plan_rows(np.concatenate([one.lengths for one in parts]), sequence_length, 1)
    rows = gather_rows(plan, parts, 0, plan.rows, PAD)
    assert rows.shape == (plan.rows, sequence_length) and rows.dtype == np.uint16
    back = documents_in(plan, rows, *document_lengths(plan, 0, plan.rows))
    assert all(np.array_equal(one, other) for one, other in zip(back, documents, strict=True))


def test_chunks_are_slices_of_the_whole() -> None:
    generator = np.random.default_rng(0)
    documents = [generator.integers(0, 50_000, size).astype(np.uint16) for size in generator.integers(0, 90, 300)]
    parts = [part(documents[:100]), part(documents[100:])]
    plan = plan_rows(np.concatenate([one.lengths for one in parts]), 64, 0)
    whole = gather_rows(plan, parts, 0, plan.rows, PAD)
    offsets, lengths = document_lengths(plan, 0, plan.rows)
    for first in range(0, plan.rows + 1, 7):
        last = min(first + 7, plan.rows)
        assert np.array_equal(gather_rows(plan, parts, first, last, PAD), whole[first:last])
        some_offsets, some_lengths = document_lengths(plan, first, last)
        assert np.array_equal(some_offsets, offsets[first : last + 1] - offsets[first])
        assert np.array_equal(some_lengths, lengths[offsets[first] : offsets[last]])


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int32])
def test_mapped_tokens_keep_their_dtype(tmp_path: Path, dtype: type[np.generic]) -> None:
    np.arange(100, dtype=dtype).tofile(tmp_path / "tokens")
    tokens = np.memmap(tmp_path / "tokens", dtype, mode="r")
    one = DocumentTokens(tokens, np.array([0, 30, 90], np.int64))
    plan = plan_rows(one.lengths, 50, 0)
    rows = gather_rows(plan, [one], 0, plan.rows, 7)
    assert rows.dtype == dtype
    assert sorted(rows.reshape(-1).tolist()) == sorted([*range(90), *[7] * 10])


def test_real_text_comes_back() -> None:
    path = TEST_DATA / "wikitext-2" / "wiki.valid.raw"
    if not path.exists():
        pytest.skip(f"no {path}: set LLM_ASSETS_TEST_DATA")
    lines = path.read_bytes().splitlines(keepends=True)
    one = part([np.frombuffer(line, np.uint8).astype(np.uint16) for line in lines])
    plan = plan_rows(one.lengths, 256, 0)
    rows = gather_rows(plan, [one], 0, plan.rows, PAD)
    back = documents_in(plan, rows, *document_lengths(plan, 0, plan.rows))
    assert b"".join(document.astype(np.uint8).tobytes() for document in back) == path.read_bytes()


DOCUMENTS = [np.arange(size, dtype=np.uint16) for size in (5, 12, 3)]


def test_rows_that_are_not_there() -> None:
    one = part(DOCUMENTS)
    plan = plan_rows(one.lengths, 8, 0)
    for first, last in ((-1, 1), (0, plan.rows + 1), (2, 1)):
        with pytest.raises(IndexError, match=f"of a plan of {plan.rows} rows"):
            gather_rows(plan, [one], first, last, 0)
        with pytest.raises(IndexError, match=f"of a plan of {plan.rows} rows"):
            document_lengths(plan, first, last)


def test_a_plan_that_does_not_fit_the_tokens() -> None:
    one = part(DOCUMENTS)
    plan = plan_rows(one.lengths, 8, 0)

    def gather(plan: RowPlan, parts: list[DocumentTokens], pad_id: int = 0) -> None:
        gather_rows(plan, parts, 0, plan.rows, pad_id)

    with pytest.raises(ValueError, match="3 documents, but the parts have 2"):
        gather(plan, [part(DOCUMENTS[:2])])
    with pytest.raises(ValueError, match="not inside its document"):
        gather(plan, [part([*DOCUMENTS[:2], DOCUMENTS[2][:2]])])
    with pytest.raises(ValueError, match="not inside its document"):
        gather(replace(plan, piece_start=plan.piece_start - 1), [one])
    with pytest.raises(ValueError, match="documents other than 0 to 3"):
        gather(replace(plan, piece_document=plan.piece_document + 1), [one])
    with pytest.raises(ValueError, match=r"tokens for 7"):
        gather(replace(plan, sequence_length=7), [one])
    with pytest.raises(ValueError, match="give parts of one dtype"):
        gather(plan, [part(DOCUMENTS[:2]), DocumentTokens(np.zeros(3, np.int32), np.array([0, 3]))])
    with pytest.raises(ValueError, match="pad_id 65536 does not fit in uint16"):
        gather(plan, [one], 65_536)
    with pytest.raises(ValueError, match="pad_id -1"):
        gather(plan, [one], -1)


@pytest.mark.parametrize(
    ("tokens", "offsets"),
    [
        (np.zeros(4, np.int64), np.array([0, 4])),
        (np.zeros((2, 2), np.uint16), np.array([0, 4])),
        (np.zeros(8, np.uint16)[::2], np.array([0, 4])),
        (np.zeros(4, np.uint16), np.array([0, 4], np.int32)),
        (np.zeros(4, np.uint16), np.array([], np.int64)),
        (np.zeros(4, np.uint16), np.array([0, 5])),
        (np.zeros(4, np.uint16), np.array([-1, 4])),
        (np.zeros(4, np.uint16), np.array([0, 3, 2, 4])),
    ],
)
def test_a_part_that_does_not_go_together(tokens: NDArray[np.uint16], offsets: NDArray[np.int64]) -> None:
    with pytest.raises(ValueError, match=r"tokens|offsets"):
        DocumentTokens(tokens, offsets)
