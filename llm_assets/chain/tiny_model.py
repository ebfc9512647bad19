"""A small causal transformer, trained and tried on rows of a shard set: torch and the loader, nothing else.

Guarantees the same losses for the same rows, settings and kind of processor, and leaves torch's random state and
number of threads as they were. Which rows are trained on, and what the losses mean, is decided above.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from llm_assets.loader import IGNORED, Batch, LoaderStats, TokenLoader, sdpa_mask
from llm_assets.store.shards import ShardSet


@dataclass(frozen=True)
class ModelSettings:
    """Sizes of the model, and how it is trained: AdamW without a schedule. Results depend on all of it."""

    width: int
    heads: int
    layers: int
    learning_rate: float
    seed: int
    threads: int


@dataclass(frozen=True)
class RowsUsed:
    """Which rows of a set are used, counted in rows of `length` tokens: a set's row may be several of them.

    Batches have `batch` rows. Rows 0 to `held_out` are trained on, again where there are too few; from `held_out` on,
    which is a multiple of `batch`, the model is tried.
    """

    length: int
    batch: int
    held_out: int


@dataclass(frozen=True)
class Training:
    """Mean loss of each step, in nats, float64 [steps]; seconds in all, and what the loader says of them."""

    losses: NDArray[np.float64]
    seconds: float
    loader: LoaderStats


@dataclass(frozen=True)
class Trial:
    """Of each row the model was tried on, in their order: the sum of the losses in nats, the targets, their bytes.

    float64 [rows], int64 [rows], int64 [rows]. `first` is the number of the first row.
    """

    first: int
    nats: NDArray[np.float64]
    targets: NDArray[np.int64]
    bytes: NDArray[np.int64]


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Causal attention within documents, then the MLP: [b, L, width] → [b, L, width]."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


class TinyModel(nn.Module):
    """A pre-norm transformer (Radford et al. 2019), its output layer tied to the embedding."""

    def __init__(self, vocabulary: int, length: int, settings: ModelSettings) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, settings.width), nn.Embedding(length, settings.width)
        self.blocks = nn.ModuleList(_Block(settings.width, settings.heads) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(settings.width)
        for embedding in (self.tokens, self.positions):
            nn.init.normal_(embedding.weight, std=0.02)

    def forward(self, batch: Batch) -> Tensor:
        """The loss of each target of a batch, in nats, [targets], row by row."""
        mask = sdpa_mask(batch["document_ids"])
        x = self.tokens(batch["input_ids"]) + self.positions(batch["position_ids"])
        for block in self.blocks:
            x = block(x, mask)
        wanted = has_target(batch)
        return cross_entropy(self.norm(x[wanted]) @ self.tokens.weight.T, batch["labels"][wanted], reduction="none")


def has_target(batch: Batch) -> Tensor:
    """Which tokens have a target, bool [b, L]; labels are shifted."""
    return batch["labels"] != IGNORED


def train(shards: ShardSet, rows: RowsUsed, steps: int, settings: ModelSettings) -> tuple[TinyModel, Training]:
    """Train a new model for some steps. Raises ShardSetError where rows are damaged."""
    with _repeatable(settings):
        began = time.perf_counter()
        loader = _loader(shards, rows)
        start = loader.state_dict()
        model = TinyModel(shards.index.vocabulary_size, rows.length, settings)
        optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, fused=True)
        losses: list[float] = []
        for batch in islice(loader, steps):
            loss = model(batch).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if loader.position == rows.held_out:
                loader.load_state_dict(start)
        return model, Training(np.array(losses), time.perf_counter() - began, loader.stats())


def try_out(
    model: TinyModel, shards: ShardSet, rows: RowsUsed, token_bytes: NDArray[np.int64], settings: ModelSettings
) -> Trial:
    """What the model makes of the rows held out. `token_bytes` int64 [vocabulary] are the bytes of each token.

    Rows at the end of the set that make no whole batch are left out.
    """
    sizes = torch.from_numpy(token_bytes)
    loader = _loader(shards, rows)
    loader.load_state_dict({**loader.state_dict(), "position": rows.held_out})
    found: list[Tensor] = []
    with _repeatable(settings), torch.no_grad():
        for batch in loader:
            wanted = has_target(batch)
            nats = torch.zeros(wanted.shape, dtype=torch.float64)
            nats[wanted] = model(batch).double()
            size = torch.where(wanted, sizes[batch["labels"].clamp(min=0)], 0)
            found.append(torch.stack([nats.sum(1), wanted.sum(1).double(), size.sum(1).double()]))
    table = torch.cat([torch.zeros(3, 0, dtype=torch.float64), *found], dim=1).numpy()
    return Trial(rows.held_out, table[0], table[1].astype(np.int64), table[2].astype(np.int64))


def _loader(shards: ShardSet, rows: RowsUsed) -> TokenLoader:
    return TokenLoader(shards, batch_size=rows.batch, sequence_length=rows.length, shift_labels=True, validate=True)


@contextmanager
def _repeatable(settings: ModelSettings) -> Generator[None]:
    """Sums depend on how many threads make them, and the first weights on the random state."""
    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        torch.set_num_threads(settings.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)
