"""This project's loader in the trials of `benchmarks.loader_torture`, with a thread that works ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.trials import LENGTH, ROWS, ROWS_PER_FILE, Job, all_rows, train
from llm_assets.loader import TokenLoader
from llm_assets.loader.cache import CacheSettings, open_cached
from llm_assets.store.folder import Folder
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets.store.shards.writer import ShardSetWriter


def ours(job: Job, saved: Any) -> tuple[Iterator[Any], Callable[[], Any]]:
    """The rows in the order of the set, which is what a mixture is written in."""
    cached = None if job.cache is None else CacheSettings(Path(job.cache), 64 << 20)
    shards = ShardSet.open(job.data) if cached is None else open_cached(job.data, cached)
    loader = TokenLoader(
        shards,
        batch_size=job.batch * job.world_size,
        rank=job.rank,
        world_size=job.world_size,
        fields=["input_ids"],
        prefetch=4,
    )
    if saved:
        loader.load_state_dict(saved)
    return (batch["input_ids"] for batch in loader), loader.state_dict


def write(job: Job, saved: Any) -> tuple[Iterator[Any], Callable[[], Any]]:
    """The rows as a shard set, shuffled as the writer of a mixture does it."""
    rows = all_rows()[np.random.default_rng(1).permutation(ROWS)]
    with ShardSetWriter(
        Folder(job.data),
        "g",
        sequence_length=LENGTH,
        vocabulary_size=1 << 16,
        pad_id=0,
        tokenizer="none",
        shard_bytes=ROWS_PER_FILE * LENGTH * 2,
    ) as writer:
        writer.append(rows, np.arange(ROWS + 1), np.full(ROWS, LENGTH))
        writer.finish().commit({})
    return iter(()), dict


if __name__ == "__main__":
    torch.set_num_threads(1)
    train({"ours": ours, "write:ours": write}, {"ours": "llm-assets"})
