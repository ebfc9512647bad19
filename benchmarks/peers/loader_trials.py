"""MosaicML Streaming and litdata in the trials of `benchmarks.loader_torture`: shuffled, with one worker each.

A job with `loader` "write:<name>" writes the rows in the format of that loader, "clean:<name>" removes what it left.
"""

# pyright: basic, reportMissingImports=false

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers.loaders import _without_image_operators
from benchmarks.trials import LENGTH, ROWS, ROWS_PER_FILE, Job, all_rows, train


def streaming(job: Job, saved: Any) -> tuple[Iterator[Any], Callable[[], Any]]:
    """As its documentation asks for elastic determinism: the same seed, canonical nodes and global batch."""
    _without_image_operators()
    from streaming import StreamingDataLoader, StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    if job.world_size == 1:
        clean_stale_shared_memory()
    where = {"local": job.data} if job.cache is None else {"remote": job.data, "local": job.cache}
    dataset = StreamingDataset(
        **where,
        shuffle=True,
        shuffle_seed=1,
        num_canonical_nodes=1,
        batch_size=job.batch,
        validate_hash="xxh3_64",
    )
    loader = StreamingDataLoader(
        dataset, batch_size=job.batch, num_workers=1, prefetch_factor=4, collate_fn=_collated, drop_last=True
    )
    if saved:
        loader.load_state_dict(saved)
    return iter(loader), loader.state_dict


def _collated(samples: list[dict[str, np.ndarray]]) -> torch.Tensor:
    return torch.from_numpy(np.stack([sample["ids"] for sample in samples]).astype(np.int64))


def write_streaming(job: Job, saved: Any) -> tuple[Iterator[Any], Callable[[], Any]]:
    _without_image_operators()
    from streaming import MDSWriter

    size = ROWS_PER_FILE * 2 * LENGTH
    with MDSWriter(
        out=job.data, columns={"ids": f"ndarray:uint16:{LENGTH}"}, hashes=["xxh3_64"], size_limit=size
    ) as out:
        for row in all_rows():
            out.write({"ids": row})
    return iter(()), dict


def clean_streaming(job: Job, saved: Any) -> tuple[Iterator[Any], Callable[[], Any]]:
    """Remove the shared memory that killed processes left behind."""
    _without_image_operators()
    from streaming.base.util import clean_stale_shared_memory

    clean_stale_shared_memory()
    return iter(()), dict


def litdata(job: Job, saved: Any) -> tuple[Iterator[Any], Callable[[], Any]]:
    """A stream of tokens, read by blocks of a row."""
    import litdata as ld

    where = {"input_dir": job.data} if job.cache is None else {"input_dir": f"local:{job.data}", "cache_dir": job.cache}
    dataset = ld.StreamingDataset(**where, item_loader=ld.TokensLoader(block_size=LENGTH), shuffle=True, seed=1)
    loader = ld.StreamingDataLoader(dataset, batch_size=job.batch, num_workers=1, prefetch_factor=4, drop_last=True)
    if saved:
        loader.load_state_dict(saved)
    return iter(loader), loader.state_dict


def write_litdata(job: Job, saved: Any) -> tuple[Iterator[Any], Callable[[], Any]]:
    import litdata as ld

    ld.optimize(
        _tensors,
        list(range(0, ROWS, ROWS_PER_FILE)),
        job.data,
        chunk_size=ROWS_PER_FILE * LENGTH,
        num_workers=1,
        item_loader=ld.TokensLoader(block_size=LENGTH),
    )
    return iter(()), dict


def _tensors(first: int) -> Iterator[torch.Tensor]:
    for row in all_rows()[first : first + ROWS_PER_FILE]:
        yield torch.from_numpy(row.copy())


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in ("DATA_OPTIMIZER_CACHE_FOLDER", "DATA_OPTIMIZER_DATA_CACHE_FOLDER"):
        # litdata empties folders that it takes for its own
        Path(os.environ[name]).mkdir(parents=True, exist_ok=True)
    train(
        {
            "streaming": streaming,
            "write:streaming": write_streaming,
            "clean:streaming": clean_streaming,
            "litdata": litdata,
            "write:litdata": write_litdata,
        },
        {"streaming": "mosaicml-streaming", "litdata": "litdata"},
    )
