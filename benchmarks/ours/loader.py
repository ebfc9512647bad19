"""This project's loader, and the limit it is held against: numpy widening uint16 to int64, from memory to memory.

The job names the `corpus` (a file of uint16 [rows, 1024]) and a folder `data`, where the shard set stays.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.inside import contend
from benchmarks.loading import LENGTH, ROWS, SECONDS, measure, throughput
from llm_assets.loader import Field, TokenLoader
from llm_assets.store.folder import Folder
from llm_assets.store.shards.writer import ShardSetWriter

_AT_ONCE = 4096


def written(source: np.ndarray[Any, Any], folder: Path, vocabulary_size: int = 1 << 16) -> Path:
    """The rows as a shard set of three documents each, written unless it is there."""
    if not (folder / "index.json").exists():
        with ShardSetWriter(
            Folder(str(folder)),
            "g",
            sequence_length=LENGTH,
            vocabulary_size=vocabulary_size,
            pad_id=0,
            tokenizer="none",
        ) as writer:
            for first in range(0, len(source), _AT_ONCE):
                rows = source[first : first + _AT_ONCE]
                lengths = np.tile([LENGTH // 2, LENGTH // 4, LENGTH // 4], len(rows))
                writer.append(rows, np.arange(0, 3 * len(rows) + 1, 3), lengths)
            writer.finish().commit({})
    return folder


def _batches(folder: Path, row: int, fields: Sequence[Field]) -> Iterator[torch.Tensor]:
    loader = TokenLoader(folder, batch_size=ROWS, fields=fields, epochs=None)
    if row:
        loader.load_state_dict(loader.state_dict() | {"position": row})
    return (batch["input_ids"] for batch in loader)


def _widening_limit(source: np.ndarray[Any, Any]) -> float:
    """Million tokens per second of CPU, copied into memory too large for any cache, over `SECONDS`."""
    target = np.zeros((_AT_ONCE, LENGTH), np.int64)
    tokens = 0
    started = time.process_time()
    while (taken := time.process_time() - started) < SECONDS:
        for first in range(0, len(source), _AT_ONCE):
            rows = source[first : first + _AT_ONCE]
            np.copyto(target[: len(rows)], rows)
            tokens += rows.size
    return tokens / taken / 1e6


def _run(job: Mapping[str, Any]) -> dict[str, Any]:
    torch.set_num_threads(1)
    source = np.fromfile(job["corpus"], np.uint16).reshape(-1, LENGTH)
    folder = written(source, Path(job["data"]) / "llm_assets")
    return {
        **measure(lambda row: _batches(folder, row, ["input_ids"]), len(source)),
        "with_labels": throughput(lambda: _batches(folder, 0, ["input_ids", "labels"])),
        "all_fields": throughput(lambda: _batches(folder, 0, ["input_ids", "labels", "position_ids", "document_ids"])),
        "limit": _widening_limit(source),
    }


if __name__ == "__main__":
    contend(_run, ["llm-assets", "numpy", "torch"])
