"""Validates finished batches against the set, for runs that must stop rather than train on wrong data.

Guarantees that an error names the shard and the row. Costs several passes over every batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_assets.loader.fields import IGNORED, PER_TOKEN, Batch
from llm_assets.loader.reading import RowReader, RowsRead
from llm_assets.loader.runs import PADDING, Runs
from llm_assets.store.shards.shard_set import ShardSet


class BatchValidator:
    """Compares every field of a batch with the rows of the set."""

    def __init__(self, shards: ShardSet, reader: RowReader, length: int, *, shift_labels: bool) -> None:
        self._vocabulary_size = shards.index.vocabulary_size
        self._pad_id = shards.index.pad_id
        self._reader = reader
        self._length = length
        self._shift = shift_labels

    def check(self, batch: Batch, rows: RowsRead, first: int, count: int) -> None:
        """Check the batch made of `count` of the rows read, from `first` on.

        Checks shapes, ids within the vocabulary, the pad id on padding, and that positions, documents, labels and
        boundaries follow from the document lengths of the set, token by token.
        Raises ShardCorruptError, naming shard and row.
        """
        runs = rows.runs
        if runs is None:
            raise RuntimeError("rows were read without their documents, which the checks need")
        keep = np.zeros(rows.rows, np.bool_)
        keep[first : first + count] = True
        expected = _expected(runs.select(keep))
        fields = {name: tensor.cpu().numpy() for name, tensor in batch.items()}
        for name in PER_TOKEN & {*fields}:
            if fields[name].shape != (count, self._length):
                shape = fields[name].shape
                raise self._reader.corrupt(rows.spans, first, f"is in a batch with {name} of shape {shape}")
        ids = np.concatenate([piece.astype(np.int64) for piece in rows.pieces])[first : first + count]
        for problem, wrong in self._problems(fields, ids, *expected):
            if wrong.any():
                row, token = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
                problem = f"{problem} at token {token}"
                raise self._reader.corrupt(rows.spans, first + int(row), problem)

    def _problems(
        self,
        fields: dict[str, NDArray[Any]],
        ids: NDArray[np.int64],
        positions: NDArray[np.int64],
        documents: NDArray[np.int64],
    ) -> list[tuple[str, NDArray[np.bool_]]]:
        """Each possible problem, with the tokens that have it: bool [rows, length]."""
        padding = documents == PADDING
        labels = np.where(padding | (positions == 0), IGNORED, ids)
        if self._shift:
            labels = np.concatenate([labels[:, 1:], np.full((len(labels), 1), IGNORED)], axis=1)
        expected = {"input_ids": ids, "labels": labels, "position_ids": positions, "document_ids": documents}
        problems = [
            (f"has an id outside the vocabulary of {self._vocabulary_size}", ids >= self._vocabulary_size),
            (f"has padding other than {self._pad_id}", padding & (ids != self._pad_id)),
        ]
        for name, right in expected.items():
            if name in fields:
                problems.append((f"has {name} that do not agree with its documents", fields[name] != right))
        if "cu_seqlens" in fields:
            starts = np.zeros(positions.size + 1, np.bool_)
            starts[fields["cu_seqlens"]] = True
            wrong = starts[:-1].reshape(positions.shape) != (positions == 0)
            problems.append(("has cu_seqlens that do not agree with its documents", wrong))
        return problems


def _expected(runs: Runs) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions and document numbers, int64 [rows, length], computed independently of the assemblers."""
    shape = (runs.rows, runs.length)
    lengths = runs.ends() - runs.starts
    positions = np.arange(runs.rows * runs.length) - np.repeat(runs.starts, lengths)
    return positions.reshape(shape), np.repeat(runs.numbers, lengths).reshape(shape)
