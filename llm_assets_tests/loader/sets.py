"""Small shard sets, and a loader so plain that one sees it is right: rows and batches token by token."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llm_assets.store.folder import Folder
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets.store.shards.writer import ShardSetWriter

LENGTH = 12
VOCABULARY = 1000
PLAIN_FIELDS = ("input_ids", "labels", "position_ids", "document_ids")

Plain = dict[str, list[list[int]]]


def write(folder: Path, rows: int, seed: int = 0, shard_rows: int = 7, vocabulary: int = VOCABULARY) -> ShardSet:
    """Rows of one to twelve documents, four in five of them full."""
    random = np.random.default_rng(seed)
    ids = np.zeros((rows, LENGTH), np.int64)
    offsets, lengths = [0], []
    for row in range(rows):
        used = 0
        while used < LENGTH and (used == 0 or random.random() < 0.8):
            lengths.append(int(random.integers(1, LENGTH - used + 1)))
            used += lengths[-1]
        ids[row, :used] = random.integers(0, vocabulary, used)
        offsets.append(len(lengths))
    width = 2 if vocabulary <= 1 << 16 else 4
    with ShardSetWriter(
        Folder(str(folder)),
        uuid.uuid4().hex,
        sequence_length=LENGTH,
        vocabulary_size=vocabulary,
        pad_id=0,
        tokenizer="t",
        shard_bytes=width * LENGTH * shard_rows,
    ) as writer:
        writer.append(ids, offsets, lengths)
        return writer.finish().commit({})


def plain(batches: Iterable[dict[str, torch.Tensor]]) -> list[dict[str, Any]]:
    """Batches as lists."""
    return [{name: tensor.tolist() for name, tensor in batch.items()} for batch in batches]


def joined(parts: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """What several ranks got, as one batch."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def slow_rows(shards: ShardSet, length: int = LENGTH, *, shift: bool = False) -> list[dict[str, list[int]]]:
    """The oracle: each row by itself, token by token, divided into rows of `length`."""
    rows: list[dict[str, list[int]]] = []
    offsets, lengths = shards.document_lengths(0, shards.rows)
    for number, ids in enumerate(shards.input_ids(0, shards.rows).tolist()):
        documents = lengths[offsets[number] : offsets[number + 1]].tolist()
        owner = [place for place, size in enumerate(documents) for _ in range(size)]
        owner += [None] * (len(ids) - len(owner))
        for seam in range(0, len(ids), length):
            rows.append(_slow_row(ids[seam : seam + length], owner[seam : seam + length], shift))
    return rows


def _slow_row(ids: list[int], owner: list[int | None], shift: bool) -> dict[str, list[int]]:
    labels, positions, documents = [], [], []
    for place, document in enumerate(owner):
        new = place == 0 or owner[place - 1] != document
        positions.append(0 if new else positions[-1] + 1)
        if document is None:
            documents.append(-1)
        else:
            documents.append(len({*owner[: place + 1]}) - 1)
        target = place + 1 if shift else place
        same = 0 < target < len(ids) and document is not None and owner[target] == owner[target - 1]
        labels.append(ids[target] if same else -100)
    return {"input_ids": ids, "labels": labels, "position_ids": positions, "document_ids": documents}


def slow_boundaries(positions: list[list[int]]) -> list[int]:
    """`cu_seqlens` of a batch, from its positions."""
    flat = [position for row in positions for position in row]
    return [place for place, position in enumerate(flat) if position == 0] + [len(flat)]


def slow_batches(rows: Sequence[dict[str, Any]], sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Rows cut into batches of these sizes."""
    ends = list(accumulate(sizes))
    return [
        {name: [row[name] for row in rows[end - size : end]] for name in rows[0]}
        for size, end in zip(sizes, ends, strict=True)
    ]


def even_batches(shards: ShardSet, batch_size: int) -> list[dict[str, Any]]:
    """The batches of one epoch of one size."""
    return slow_batches(slow_rows(shards), [batch_size] * (shards.rows // batch_size))
