"""A small causal transformer in torch, trained and evaluated on rows of a shard set through the loader.

Guarantees the same losses for the same rows, settings and kind of processor, and restores torch's random state and
number of threads. `link` and `trial` choose the rows and interpret the losses.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from llm_assets.errors import LlmAssetsError
from llm_assets.loader import IGNORED, Batch, LoaderStats, TokenLoader, sdpa_mask
from llm_assets.store.shards.shard_set import ShardSet


class NoTargetsError(LlmAssetsError, ValueError):
    """No document of the set has two tokens in a row of the model, so there is no target to learn."""


@dataclass(frozen=True)
class ModelSettings:
    """Sizes of the model and settings of its training by AdamW, at a constant learning rate. Results depend on all."""

    width: int
    heads: int
    layers: int
    learning_rate: float
    seed: int
    threads: int


@dataclass(frozen=True)
class Batches:
    """The shape of a batch: `rows` rows of `length` tokens, a divisor of the set's row length."""

    rows: int
    length: int


@dataclass(frozen=True)
class Training:
    """Mean loss of each step in nats, float64 [steps]; total seconds; statistics of the loader.

    `rows` is the number of rows of the model delivered, repeated ones each time.
    """

    losses: NDArray[np.float64]
    rows: int
    seconds: float
    loader: LoaderStats


@dataclass(frozen=True)
class Trial:
    """The evaluation of rows of a set, in the order asked for: three arrays [rows].

    `nats` float64, the sum of the losses; `targets` int64, the number of targets; `bytes` int64, their UTF-8 bytes.
    """

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
    """True for tokens with a target, bool [b, L]; labels are shifted."""
    return batch["labels"] != IGNORED


def train(shards: ShardSet, batches: Batches, steps: int, settings: ModelSettings) -> tuple[TinyModel, Training]:
    """Train a new model on the first rows of a set; starts again at the first row where the rows do not suffice.

    Raises ShardSetError where rows are damaged, NoTargetsError where no row has a target.
    """
    with _repeatable(settings):
        began = time.perf_counter()
        loader = _loader(shards, batches.rows, batches.length, epochs=None)
        model = TinyModel(shards.index.vocabulary_size, batches.length, settings)
        optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, fused=True)
        losses: list[float] = []
        for batch in islice(_with_targets(loader), steps):
            loss = model(batch).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return model, Training(np.array(losses), loader.position, time.perf_counter() - began, loader.stats())


def _with_targets(loader: TokenLoader) -> Iterator[Batch]:
    """The batches of a loader that have a target; others have no mean loss."""
    last = 0
    for batch in loader:
        if has_target(batch).any():
            last = loader.position
            yield batch
        elif loader.position - last >= loader.epoch_rows:
            raise NoTargetsError(f"no document in {loader.set.uri} has two tokens in a row of {loader.sequence_length}")


def try_out(
    model: TinyModel,
    shards: ShardSet,
    rows: NDArray[np.int64],
    batches: Batches,
    token_bytes: NDArray[np.int64],
    settings: ModelSettings,
) -> Trial:
    """Evaluate the model on rows (int64 [rows]) of a set; `token_bytes` is int64 [vocabulary], the bytes of each id.

    Raises ShardSetError where rows are damaged.
    """
    sizes = torch.from_numpy(token_bytes)
    parts = shards.sequence_length // batches.length
    loader = _loader(shards, parts, batches.length, epochs=1)  # a batch is a row of the set
    delivered = iter(loader)
    found = np.zeros((len(rows), 3))
    with _repeatable(settings), torch.no_grad():
        for place, row in enumerate(rows.tolist()):
            loader.load_state_dict({**loader.state_dict(), "position": row * parts})
            whole = next(delivered)
            for first in range(0, parts, batches.rows):
                batch = {name: field[first : first + batches.rows] for name, field in whole.items()}
                labels = batch["labels"][has_target(batch)]
                nats = model(batch).double().sum().item()
                found[place] += nats, len(labels), int(sizes[labels].sum())
    return Trial(found[:, 0], found[:, 1].astype(np.int64), found[:, 2].astype(np.int64))


def _loader(shards: ShardSet, batch_size: int, length: int, epochs: int | None) -> TokenLoader:
    return TokenLoader(
        shards, batch_size=batch_size, sequence_length=length, epochs=epochs, shift_labels=True, validate=True
    )


@contextmanager
def _repeatable(settings: ModelSettings) -> Generator[None]:
    """Fix the number of threads, on which sums depend, and the random state, on which the first weights depend."""
    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        torch.set_num_threads(settings.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)
