"""Document boundaries and padding in rows, as one list of runs: a run is a document or a stretch of padding.

Guarantees that lengths which do not fit their rows are an error that names the row. The tensors for a model are made
in `batch` (host memory) and `device`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from llm_assets.store.shards.shard_set import DocumentLengths

PADDING = -1
"""Document number of padding."""


class RowError(ValueError):
    """A row whose document lengths are invalid. `row` is its index among the rows checked, `problem` the reason."""

    def __init__(self, row: int, problem: str) -> None:
        super().__init__(f"row {row}: {problem}")
        self.row = row
        self.problem = problem


@dataclass(frozen=True)
class Runs:
    """The runs of `rows` rows of `length` tokens laid end to end: documents and padding, none of them empty.

    `starts` (int64 [n], from 0, increasing) are their first tokens, `is_padding` is bool [n]. Each row starts a run.
    """

    rows: int
    length: int
    starts: NDArray[np.int64]
    is_padding: NDArray[np.bool_]

    @cached_property
    def numbers(self) -> NDArray[np.int64]:
        """Index of each run's document within its row, from 0; `PADDING` for padding: int64 [n]."""
        first_runs = np.searchsorted(self.starts, np.arange(0, self.rows * self.length, self.length))
        counts = np.diff(first_runs, append=len(self.starts))
        numbers = np.arange(len(self.starts)) - np.repeat(first_runs, counts)
        numbers[self.is_padding] = PADDING
        return numbers

    def ends(self) -> NDArray[np.int64]:
        """End (exclusive) of each run, int64 [n]."""
        return np.append(self.starts[1:], self.rows * self.length)

    def select(self, keep: NDArray[np.bool_]) -> Runs:
        """The runs of the rows where `keep` (bool [rows]) is true, laid end to end."""
        row = self.starts // self.length
        kept = keep[row]
        place = np.cumsum(keep) - 1
        starts = place[row[kept]] * self.length + self.starts[kept] % self.length
        return Runs(int(place[-1]) + 1, self.length, starts, self.is_padding[kept])


def runs_of(documents: DocumentLengths, packed_length: int, length: int) -> Runs:
    """The runs of packed rows, each divided into rows of `length` tokens, a divisor of `packed_length`.

    Where a row ends inside a document, the rest of the document counts as a document of its own in the next row.
    Raises RowError for lengths that do not fit.
    """
    ends, tokens = _ends(documents, packed_length)
    starts, is_padding = _packed_runs(documents, ends, tokens, packed_length)
    rows = len(tokens) * (packed_length // length)
    if length < packed_length:
        cut = np.union1d(starts, np.arange(0, rows * length, length))
        is_padding = is_padding[np.searchsorted(starts, cut, "right") - 1]
        starts = cut
    return Runs(rows, length, starts, is_padding)


def _packed_runs(
    documents: DocumentLengths, ends: NDArray[np.int64], tokens: NDArray[np.int64], packed_length: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """First tokens (int64 [n]) of all runs of packed rows, and whether each is padding (bool [n])."""
    starts = ends - documents.lengths
    padding = packed_length - tokens
    padded = padding.nonzero()[0]
    if not padded.size:
        return starts, np.zeros(starts.size, np.bool_)
    bounds = documents.offsets[1:]
    starts += (padding.cumsum() - padding).repeat(bounds - documents.offsets[:-1])
    is_padding = np.zeros(starts.size + padded.size, np.bool_)
    is_padding[bounds[padded] + np.arange(padded.size)] = True
    runs = np.empty(is_padding.size, np.int64)
    runs[is_padding] = padded * packed_length + tokens[padded]
    runs[~is_padding] = starts
    return runs, is_padding


def _ends(documents: DocumentLengths, packed_length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ends of the documents laid end to end without padding, and tokens of each row. Raises RowError."""
    offsets, lengths = documents
    if (offsets[1:] <= offsets[:-1]).any():
        raise RowError(int(np.argmax(offsets[1:] <= offsets[:-1])), "has no document")
    if (lengths < 1).any():
        document = int(np.argmax(lengths < 1))
        raise RowError(int(np.searchsorted(offsets, document, "right")) - 1, "has a document without tokens")
    ends = lengths.cumsum(dtype=np.int64)
    tokens = ends[offsets[1:] - 1]
    tokens[1:] -= tokens[:-1].copy()
    if (tokens > packed_length).any():
        row = int(np.argmax(tokens > packed_length))
        raise RowError(row, f"has documents of {tokens[row]} tokens in {packed_length}")
    return ends, tokens
