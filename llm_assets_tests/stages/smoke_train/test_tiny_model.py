"""The small model on small sets: padding, seams between documents, and rows in any order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from llm_assets.stages.smoke_train.tiny_model import Batches, ModelSettings, NoTargetsError, train, try_out
from llm_assets.store.folder import Folder
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets.store.shards.writer import ShardSetWriter

SETTINGS = ModelSettings(width=8, heads=2, layers=1, learning_rate=1e-3, seed=0, threads=1)
LENGTH, PART = 24, 8


def shard_set(folder: Path, rows: Sequence[Sequence[int]]) -> ShardSet:
    """Rows of 24 tokens, given by the lengths of their documents; ids count up from 1 in each row, 0 is padding."""
    lengths = np.array([length for row in rows for length in row], np.int32)
    offsets = np.cumsum([0, *map(len, rows)])
    ids = np.array([[*range(1, sum(row) + 1), *[0] * (LENGTH - sum(row))] for row in rows], np.uint16)
    known = {"sequence_length": LENGTH, "vocabulary_size": 30, "pad_id": 0, "tokenizer": "t", "sources": ("web",)}
    with ShardSetWriter(Folder(str(folder)), "g", **known) as writer:
        writer.append(ids, offsets, lengths, np.zeros(len(rows), np.int64))
        return writer.finish().commit({})


def test_batches_of_padding_are_no_steps(tmp_path: Path) -> None:
    """Of the six rows of the model the last two are."""
    shards = shard_set(tmp_path, [[20, 4], [5]])
    model, training = train(shards, Batches(1, PART), 6, SETTINGS)
    assert len(training.losses) == 6 and np.isfinite(training.losses).all()
    assert training.rows == 8  # four, two of padding that are passed over, and two again
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_without_targets_there_is_nothing_to_learn(tmp_path: Path) -> None:
    shards = shard_set(tmp_path, [[1], [1, 1, 1], [1]])
    with pytest.raises(NoTargetsError, match=r"no document in .* has two tokens in a row of 8"):
        train(shards, Batches(2, PART), 3, SETTINGS)


def test_rows_are_tried_in_the_order_asked_for(tmp_path: Path) -> None:
    """Targets and their bytes by hand: a document has no first target, nor has what a seam cuts off."""
    shards = shard_set(tmp_path, [[24], [3, 1, 2], [10], [1] * 24])
    model, _ = train(shards, Batches(2, PART), 2, SETTINGS)
    sizes = np.arange(30)  # the id itself
    rows = np.array([2, 0, 1, 3])
    tried = try_out(model, shards, rows, Batches(2, PART), sizes, SETTINGS)
    assert tried.targets.tolist() == [8, 21, 3, 0]
    expected = [[*range(2, 9), 10], [*range(2, 9), *range(10, 17), *range(18, 25)], [2, 3, 6], []]
    assert tried.bytes.tolist() == list(map(sum, expected))
    alone = [try_out(model, shards, rows[place : place + 1], Batches(1, PART), sizes, SETTINGS) for place in range(4)]
    assert np.allclose(tried.nats, [float(each.nats[0]) for each in alone]) and tried.nats[3] == 0
