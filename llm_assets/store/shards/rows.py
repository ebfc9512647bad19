"""Validates rows and collects them until they fill a shard.

Guarantees that ids are in the vocabulary, that documents fit in their row, and that padding holds the pad id. Writes no
files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class RowRules:
    """Parameters of a set that its rows are checked against."""

    sequence_length: int
    vocabulary_size: int
    pad_id: int
    sources: int


@dataclass(frozen=True)
class CheckedRows:
    """Checked rows: token ids [n, sequence_length]; per row the number of documents, tokens and source; all lengths."""

    input_ids: NDArray[Any]
    counts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    tokens: NDArray[np.int64]
    sources: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.counts)

    def split(self, row: int) -> tuple[CheckedRows, CheckedRows]:
        """The rows before `row`, and the rest."""
        cut = int(self.counts[:row].sum())
        return (
            CheckedRows(
                self.input_ids[:row], self.counts[:row], self.lengths[:cut], self.tokens[:row], self.sources[:row]
            ),
            CheckedRows(
                self.input_ids[row:], self.counts[row:], self.lengths[cut:], self.tokens[row:], self.sources[row:]
            ),
        )


class PendingRows:
    """A buffer for the rows of one shard; copies the rows that are added."""

    def __init__(self, capacity: int, sequence_length: int, dtype: np.dtype[Any]) -> None:
        self._input_ids = np.empty((capacity, sequence_length), dtype)
        self._counts = np.empty(capacity, np.int32)
        self._tokens = np.empty(capacity, np.int64)
        self._sources = np.empty(capacity, np.int64)
        self._lengths: list[NDArray[np.int32]] = []
        self._filled = 0

    def __len__(self) -> int:
        return self._filled

    @property
    def room(self) -> int:
        """Number of rows that still fit."""
        return len(self._counts) - self._filled

    def add(self, rows: CheckedRows) -> None:
        """Add rows, at most `room`."""
        place = slice(self._filled, self._filled + len(rows))
        np.copyto(self._input_ids[place], rows.input_ids, casting="unsafe")
        self._counts[place] = rows.counts
        self._tokens[place] = rows.tokens
        self._sources[place] = rows.sources
        self._lengths.append(rows.lengths.astype(np.int32))
        self._filled += len(rows)

    def clear(self) -> None:
        """Empty the buffer. Views of it returned before become invalid."""
        self._lengths = []
        self._filled = 0

    @property
    def input_ids(self) -> NDArray[Any]:
        """Token ids of the rows, C-contiguous [rows, sequence_length]."""
        return self._input_ids[: self._filled]

    @property
    def counts(self) -> NDArray[np.int32]:
        """Number of documents of each row."""
        return self._counts[: self._filled]

    @property
    def tokens(self) -> NDArray[np.int64]:
        """Number of tokens of each row, without padding."""
        return self._tokens[: self._filled]

    @property
    def sources(self) -> NDArray[np.int64]:
        """Number of the source of each row."""
        return self._sources[: self._filled]

    def lengths(self) -> NDArray[np.int32]:
        """Lengths of all documents, row by row."""
        return np.concatenate([np.empty(0, np.int32), *self._lengths])


def checked_rows(
    rules: RowRules,
    before: int,
    input_ids: NDArray[Any],
    offsets: ArrayLike,
    lengths: ArrayLike,
    sources: ArrayLike | None,
) -> CheckedRows:
    """Check the arguments of `ShardSetWriter.append`; the first row is row `before` of the set.

    Raises ValueError, naming the first row at fault.
    """
    if input_ids.ndim != 2 or input_ids.shape[1] != rules.sequence_length or input_ids.dtype.kind not in "iu":
        wanted = f"integers of shape (rows, {rules.sequence_length})"
        raise ValueError(f"input_ids are {input_ids.dtype} of shape {input_ids.shape}, not {wanted}")
    bounds, all_lengths = _integers("offsets", offsets), _integers("lengths", lengths)
    if len(bounds) != len(input_ids) + 1 or not 0 <= bounds[0] <= bounds[-1] <= len(all_lengths):
        raise ValueError(f"{len(bounds)} offsets do not cut {len(all_lengths)} lengths into {len(input_ids)} rows")
    counts = np.diff(bounds)
    _refuse(before, counts < 1, "holds no document")
    documents = all_lengths[bounds[0] : bounds[-1]]
    starts = bounds[:-1] - bounds[0]
    tokens = np.add.reduceat(documents, starts) if len(counts) else counts
    if len(counts):
        _refuse(before, np.minimum.reduceat(documents, starts) < 1, "holds a document without tokens")
    _refuse(before, tokens > rules.sequence_length, f"holds more than {rules.sequence_length} tokens")
    _check_ids(rules, before, input_ids, tokens)
    return CheckedRows(input_ids, counts, documents, tokens, _row_sources(rules, before, len(counts), sources))


def _check_ids(rules: RowRules, before: int, input_ids: NDArray[Any], tokens: NDArray[np.int64]) -> None:
    if input_ids.size:
        wrong = (input_ids.min(axis=1) < 0) | (input_ids.max(axis=1) >= rules.vocabulary_size)
        _refuse(before, wrong, f"holds an id outside the vocabulary of {rules.vocabulary_size}")
    padding = rules.sequence_length - tokens
    row = np.repeat(np.arange(len(tokens)), padding)
    last = np.cumsum(padding)
    column = np.arange(len(row)) - np.repeat(last - padding, padding) + np.repeat(tokens, padding)
    wrong = np.zeros(len(tokens), np.bool_)
    wrong[row[input_ids[row, column] != rules.pad_id]] = True
    _refuse(before, wrong, f"has padding other than {rules.pad_id} after its documents")


def _row_sources(rules: RowRules, before: int, rows: int, sources: ArrayLike | None) -> NDArray[np.int64]:
    if sources is None:
        if rules.sources > 1:
            raise ValueError(f"the set has {rules.sources} sources: give the source of each row")
        return np.zeros(rows, np.int64)
    numbers = _integers("sources", sources)
    if len(numbers) != rows:
        raise ValueError(f"{len(numbers)} sources for {rows} rows")
    _refuse(before, (numbers < 0) | (numbers >= rules.sources), f"names none of the {rules.sources} sources")
    return numbers


def _integers(name: str, values: ArrayLike | Sequence[int]) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"{name} are {array.dtype} of shape {array.shape}, not a list of integers")
    return array.astype(np.int64)


def _refuse(before: int, wrong: NDArray[np.bool_], problem: str) -> None:
    if wrong.any():
        raise ValueError(f"row {before + int(np.argmax(wrong))} {problem}")
