"""From stored rows to what a model is given: ids, labels, positions and document numbers, all int64.

Guarantees that no document sees another: positions start anew in each, and no token is a target of the document
before it. Pure arithmetic on arrays; which rows make a batch is not known here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_assets.store.shards import DocumentLengths

IGNORED = -100
"""Label of a token that is no target: what torch's cross entropy ignores by default."""

PADDING = -1
"""Document number of padding."""


FIELDS = ("input_ids", "labels", "position_ids", "document_ids")
"""What a batch holds, in the order of `expand`'s block."""

_TOKENS_AT_ONCE = 1 << 15
"""Tokens expanded in one go: the arrays made on the way (256 KiB each) then stay in a core's cache."""


def expand(input_ids: NDArray[Any], documents: DocumentLengths, block: NDArray[np.int64]) -> None:
    """Fill a block [4, b, L] with the `FIELDS` of rows [b, L].

    `labels` are the ids at the same positions (a model shifts them itself, as Hugging Face models do), `IGNORED`
    on padding and on the first token of each document. `position_ids` count from 0 in each document, and in the
    padding of a row. `document_ids` number the documents of a row from 0; padding has `PADDING`.
    Raises ValueError where the lengths do not fit the rows.
    """
    rows, length = input_ids.shape
    at_once = max(1, _TOKENS_AT_ONCE // length)
    for first in range(0, rows, at_once):
        last = min(rows, first + at_once)
        bounds = documents.offsets[first : last + 1]
        part = DocumentLengths(bounds - bounds[0], documents.lengths[bounds[0] : bounds[-1]])
        _expand_rows(input_ids[first:last], part, block[:, first:last])


def _expand_rows(input_ids: NDArray[Any], documents: DocumentLengths, block: NDArray[np.int64]) -> None:
    rows, length = input_ids.shape
    tokens = _tokens(documents, length)
    # Each row is a sequence of runs: its documents, then its padding, which may be empty.
    row_numbers = np.arange(rows)
    last_runs = documents.offsets[1:] + row_numbers
    is_document = np.ones(len(documents.lengths) + rows, np.bool_)
    is_document[last_runs] = False
    runs = np.empty(len(is_document), np.int64)
    runs[is_document] = documents.lengths
    runs[last_runs] = length - tokens
    starts = np.cumsum(runs) - runs
    numbers = np.arange(len(runs)) - np.repeat(documents.offsets[:-1] + row_numbers, np.diff(documents.offsets) + 1)
    numbers[last_runs] = PADDING

    ids, labels, positions, document_ids = block
    np.copyto(ids, input_ids)
    np.copyto(labels, ids)
    labels.reshape(-1)[starts[is_document]] = IGNORED
    for row in np.flatnonzero(tokens < length).tolist():
        labels[row, tokens[row] :] = IGNORED
    np.subtract(_count(rows * length), np.repeat(starts, runs), out=positions.reshape(-1))
    np.copyto(document_ids.reshape(-1), np.repeat(numbers, runs))


def _tokens(documents: DocumentLengths, length: int) -> NDArray[np.int64]:
    """Tokens of each row, int64 [rows], once the lengths are known to fit rows of `length`."""
    if (np.diff(documents.offsets) < 1).any() or (documents.lengths < 1).any():
        raise ValueError("a row has no document, or a document no token")
    tokens = np.add.reduceat(documents.lengths, documents.offsets[:-1], dtype=np.int64)
    if (tokens > length).any():
        raise ValueError(f"a row of {length} has documents of {tokens.max()} tokens")
    return tokens


@lru_cache(maxsize=2)
def _count(stop: int) -> NDArray[np.int64]:
    """0 to `stop`, made once: every batch of a loader has the same size."""
    numbers = np.arange(stop)
    numbers.flags.writeable = False
    return numbers
