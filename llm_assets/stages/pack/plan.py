"""Assigns tokens to rows by best-fit decreasing, without discarding any.

Guarantees that every token of every document is in exactly one row, and that a document is cut only if it is longer
than a row. Works on lengths; `rows` copies the tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from llm_assets.contract.stage import Parameters
from llm_assets.kernels.kernel import kernel

MAX_SEQUENCE_LENGTH = 2**20
MAX_SEED = 2**63 - 1


class PackParameters(Parameters):
    """Tokens per row, and the seed of the order of the rows."""

    sequence_length: int = Field(gt=0, le=MAX_SEQUENCE_LENGTH)
    seed: int = Field(default=0, ge=0, le=MAX_SEED)


@dataclass(frozen=True, eq=False)
class RowPlan:
    """Rows of a packed set, as pieces of documents.

    Row r has the pieces `row_offsets[r]` to `row_offsets[r + 1]`, one after the other from its first token on; the rest
    of the row is padding. Within a row, pieces are in document order, so that long ones do not always come first.

    Attributes:
        sequence_length: tokens per row.
        documents: number of documents, with the empty ones, which have no piece.
        row_offsets: int64 [rows + 1], into the arrays below.
        piece_document: int64 [pieces], index of the document the piece comes from.
        piece_start: int64 [pieces], tokens of the document before the piece.
        piece_length: int32 [pieces], tokens in the piece, 1 to `sequence_length`.
    """

    sequence_length: int
    documents: int
    row_offsets: NDArray[np.int64]
    piece_document: NDArray[np.int64]
    piece_start: NDArray[np.int64]
    piece_length: NDArray[np.int32]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.row_offsets.size - 1

    @property
    def pieces(self) -> int:
        """Number of pieces: documents that are not empty, plus one for every cut."""
        return self.piece_document.size


def plan_rows(lengths: NDArray[np.int64], sequence_length: int, seed: int) -> RowPlan:
    """Pack documents of the given lengths (int64 [documents], in tokens) into rows.

    A document longer than a row fills whole rows from its start, and its rest is packed as an ordinary piece; an empty
    one gives no piece. Pieces are placed longest first, equal ones in document order, each in the fullest row with room
    for it, of equally full rows in the one that was filled last (best-fit decreasing: Johnson 1974; for language models
    Ding et al. 2024, arXiv 2404.10830). The rows then come out sorted by length, so they are shuffled, keyed by `seed`.
    The same arguments give the same plan on every machine and numpy version.

    Time O(documents + pieces · log sequence_length), memory about 40 bytes a piece and 40 bytes a row.

    Raises:
        ValueError: a negative length, a `sequence_length` outside 1 to 2**20, a `seed` outside 0 to 2**63 - 1.
        TypeError: `lengths` is not a one-dimensional int64 array.
    """
    _check_arguments(lengths, sequence_length, seed)
    histogram = _length_histogram(lengths, sequence_length)
    row_of_rank, rows = _best_fit(histogram, sequence_length)
    order = _shuffled(rows, seed)
    position = np.empty(rows, np.int64)
    position[order] = np.arange(rows, dtype=np.int64)
    row_offsets = np.zeros(rows + 1, np.int64)
    np.cumsum(np.bincount(row_of_rank, minlength=rows)[order], out=row_offsets[1:])
    pieces = _lay_down(lengths, sequence_length, histogram, row_of_rank, position, row_offsets)
    return RowPlan(sequence_length, lengths.size, row_offsets, *pieces)


def _check_arguments(lengths: NDArray[np.int64], sequence_length: int, seed: int) -> None:
    if lengths.dtype != np.int64 or lengths.ndim != 1:
        raise TypeError(f"lengths are {lengths.dtype} {list(lengths.shape)}: give int64 [documents]")
    if not 1 <= sequence_length <= MAX_SEQUENCE_LENGTH:
        raise ValueError(f"sequence_length is {sequence_length}: give 1 to {MAX_SEQUENCE_LENGTH}")
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed is {seed}: give 0 to {MAX_SEED}")
    if lengths.size and lengths.min() < 0:
        raise ValueError(f"document {int(lengths.argmin())} has a length of {int(lengths.min())} tokens")


def _shuffled(rows: int, seed: int) -> NDArray[np.int64]:
    """A permutation of the rows: the sort order of random words. Between its versions numpy keeps the output of bit
    generators stable, but not that of `Generator.permutation`."""
    words = np.random.Philox(key=seed).random_raw(rows)
    return np.argsort(np.asarray(words, np.uint64), kind="stable").astype(np.int64, copy=False)


@kernel
def _length_histogram(lengths: Any, sequence_length: Any) -> Any:
    """Number of pieces by length, int64 [sequence_length + 1]; none of length 0."""
    histogram = np.zeros(sequence_length + 1, np.int64)
    for length in lengths:
        histogram[sequence_length] += length // sequence_length
        histogram[length % sequence_length] += 1
    histogram[0] = 0
    return histogram


@kernel
def _best_fit(histogram: Any, sequence_length: Any) -> Any:
    """The row of each piece, int64 [pieces] with the longest first, and the number of rows.

    Rows with the same free space form a stack. A binary tree over the spaces tells which stacks are not empty.
    """
    pieces = histogram.sum()
    row_of_rank = np.empty(pieces, np.int64)
    row_below = np.empty(pieces, np.int64)
    top = np.full(sequence_length + 1, -1, np.int64)
    leaves = 1
    while leaves < sequence_length + 1:
        leaves *= 2
    occupied = np.zeros(2 * leaves, np.uint8)
    rows = 0
    rank = 0
    for length in range(sequence_length, 0, -1):
        for _ in range(histogram[length]):
            room = _smallest_room(occupied, leaves, length)
            if room < 0:
                row = rows
                rows += 1
                room = sequence_length
            else:
                row = top[room]
                top[room] = row_below[row]
                if top[room] < 0:
                    _leave(occupied, leaves + room)
            left = room - length
            if left > 0:
                if top[left] < 0:
                    _enter(occupied, leaves + left)
                row_below[row] = top[left]
                top[left] = row
            row_of_rank[rank] = row
            rank += 1
    return row_of_rank, rows


@kernel
def _smallest_room(occupied: Any, leaves: Any, room: Any) -> Any:
    """The smallest occupied leaf from `room` on, or -1."""
    node = leaves + room
    while not occupied[node]:
        while node & 1:
            node >>= 1
        if node == 0:
            return -1
        node += 1
    while node < leaves:
        node *= 2
        if not occupied[node]:
            node += 1
    return node - leaves


@kernel
def _enter(occupied: Any, node: Any) -> None:
    while node > 0 and not occupied[node]:
        occupied[node] = 1
        node >>= 1


@kernel
def _leave(occupied: Any, node: Any) -> None:
    occupied[node] = 0
    node >>= 1
    while node > 0 and not (occupied[2 * node] or occupied[2 * node + 1]):
        occupied[node] = 0
        node >>= 1


@kernel
def _lay_down(
    lengths: Any, sequence_length: Any, histogram: Any, row_of_rank: Any, position: Any, row_offsets: Any
) -> Any:
    """The pieces, row by row: documents in order take the ranks of their lengths in order."""
    next_rank = np.zeros(sequence_length + 1, np.int64)
    for length in range(sequence_length - 1, 0, -1):
        next_rank[length] = next_rank[length + 1] + histogram[length + 1]
    next_slot = row_offsets[:-1].copy()
    piece_document = np.empty(row_of_rank.size, np.int64)
    piece_start = np.empty(row_of_rank.size, np.int64)
    piece_length = np.empty(row_of_rank.size, np.int32)
    for document in range(lengths.size):
        start = 0
        while start < lengths[document]:
            length = min(sequence_length, lengths[document] - start)
            row = position[row_of_rank[next_rank[length]]]
            next_rank[length] += 1
            slot = next_slot[row]
            next_slot[row] += 1
            piece_document[slot] = document
            piece_start[slot] = start
            piece_length[slot] = length
            start += length
    return piece_document, piece_start, piece_length
