"""A training step fed by the loader, and the same step on one batch that stays where the model is.

The job names the `corpus` (a file of uint16 [rows, 1024]), a folder `data`, where the shard set stays, and how many
`blocks` of steps to time. Both kinds take turns, block by block, in this one process, with the same model. On CUDA
where there is such a device, else on the CPU.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import repeat
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import torch

from benchmarks.inside import contend
from benchmarks.loading import LENGTH
from benchmarks.ours.loader import written
from llm_assets.loader import Batch, TokenLoader
from llm_assets.stages.smoke_train.tiny_model import ModelSettings, TinyModel

ROW: Final = 512
VOCABULARY: Final = 8192
BATCH: Final = {"cpu": 4, "cuda": 32}
MODEL: Final = {
    "cpu": ModelSettings(width=128, heads=4, layers=2, learning_rate=1e-3, seed=0, threads=1),
    "cuda": ModelSettings(width=1024, heads=16, layers=8, learning_rate=1e-4, seed=0, threads=1),
}
STEPS: Final = {"cpu": 4, "cuda": 20}
"""Steps of a block."""

WARM_UP: Final = 3


class _Trainer:
    """A model and its optimizer. Every step costs the same, whatever the tokens are."""

    def __init__(self, vocabulary: int, device: torch.device) -> None:
        settings = MODEL[device.type]
        self._device = device
        self._model = TinyModel(vocabulary, ROW, settings).to(device)
        self._optimizer = torch.optim.AdamW(self._model.parameters(), lr=settings.learning_rate, fused=True)

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast("cuda", torch.bfloat16) if self._device.type == "cuda" else nullcontext()

    def step(self, batch: Batch) -> None:
        with self._precision():
            loss = self._model(batch).mean()
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()

    def seconds(self, batches: Iterator[Batch], steps: int) -> float:
        """Wall-clock seconds of so many steps, to the end of what they issued."""
        self._finish()
        began = time.perf_counter()
        for _ in range(steps):
            self.step(next(batches))
        self._finish()
        return time.perf_counter() - began

    def _finish(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _run(job: Mapping[str, Any]) -> dict[str, Any]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind = device.type
    source = np.fromfile(job["corpus"], np.uint16).reshape(-1, LENGTH)
    folder = written(source, Path(job["data"]) / "llm_assets", VOCABULARY)
    loader = TokenLoader(
        folder, batch_size=BATCH[kind], sequence_length=ROW, epochs=None, shift_labels=True, device=device, prefetch=2
    )
    trainer = _Trainer(loader.set.index.vocabulary_size, device)
    fed = iter(loader)
    kinds: dict[str, Iterator[Batch]] = {"loader": fed, "resident": repeat(next(fed))}
    taken: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(-WARM_UP, job["blocks"]):
        for name in sorted(kinds, reverse=number % 2 == 1):
            seconds = trainer.seconds(kinds[name], STEPS[kind])
            if number >= 0:
                taken[name].append(seconds / STEPS[kind])
    stats = loader.stats()
    return {
        "device": torch.cuda.get_device_name(device) if kind == "cuda" else "the CPU",
        "tokens": BATCH[kind] * ROW,
        **{f"{name}_ms": 1e3 * median(seconds) for name, seconds in taken.items()},
        "waiting_ms": 1e3 * stats.waited / stats.batches,
    }


if __name__ == "__main__":
    contend(_run, ["llm-assets", "torch"])
