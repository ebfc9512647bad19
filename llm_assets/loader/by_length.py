"""Batches of examples of different lengths, for labelled data that is not packed: little padding, the same for all.

Guarantees that the batches follow from lengths, parameters and epoch alone, that each example is in one batch of an
epoch, and that ranks share every batch evenly. Where the examples come from is the caller's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from llm_assets.loader.chance import key
from llm_assets.loader.epoch_order import EpochOrder
from llm_assets.loader.fields import IGNORED, Batch
from llm_assets.loader.ranks import Ranks


@dataclass(frozen=True)
class LengthBatches:
    """Global batches of at most `most_tokens` tokens, padding included, made of examples of similar length.

    Each `window` of examples is sorted by length and cut from the longest down; then the batches of the window are
    given out in another order. The first epoch takes its windows in the order of `lengths`, later ones in another by
    `seed`, in blocks of 16. The number of examples in a batch is a multiple of `rows_multiple`, so that as many ranks
    or any divisor share it evenly; what is left over in a window goes to the next one, and what is left at the end of
    the epoch, fewer than `rows_multiple`, is not delivered. Lengths count as rounded up to `pad_to_multiple`.
    Raises ValueError where lengths are no whole numbers, a parameter is below 1, or `rows_multiple` examples of the
    greatest length exceed a batch.
    """

    lengths: NDArray[np.integer[Any]]
    most_tokens: int
    pad_to_multiple: int = 8
    rows_multiple: int = 1
    window: int = 4096
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.most_tokens, self.pad_to_multiple, self.rows_multiple) < 1 or self.window < self.rows_multiple:
            raise ValueError(
                "most_tokens, pad_to_multiple and rows_multiple are at least 1, window at least the latter"
            )
        lengths = np.asarray(self.lengths)
        if lengths.ndim != 1 or lengths.size == 0:
            raise ValueError(f"there are no examples: lengths of shape {lengths.shape}")
        if lengths.dtype.kind not in "iu" or int(lengths.min()) < 1:
            raise ValueError(f"lengths of examples are whole numbers from 1 on: {lengths.dtype}, least {lengths.min()}")
        object.__setattr__(self, "lengths", lengths.astype(np.int64))  # those without a sign cannot be negated
        longest = int(_padded(self.lengths.max(), self.pad_to_multiple))
        if longest * self.rows_multiple > self.most_tokens:
            raise ValueError(f"{self.rows_multiple} examples of {longest} tokens exceed {self.most_tokens}")

    def batches(self, epoch: int = 0) -> Iterator[NDArray[np.int64]]:
        """The examples of each global batch of an epoch, longest first, int64 [n].

        They are arithmetic on lengths: to resume, leave out those that were trained on (`itertools.islice`). Raises
        ValueError for an epoch below 0.
        """
        if epoch < 0:
            raise ValueError(f"epoch {epoch}: the first one is 0")
        return self._batches(epoch)

    def _batches(self, epoch: int) -> Iterator[NDArray[np.int64]]:
        count = len(self.lengths)
        spans = EpochOrder(count, self.seed, 16).ranges(epoch * count, (epoch + 1) * count)
        order = np.concatenate([np.arange(first, last) for first, last in spans])
        left = order[:0]
        for start in range(0, count, self.window):
            examples = np.concatenate([left, order[start : start + self.window]])
            usable = len(examples) - len(examples) % self.rows_multiple
            examples, left = examples[:usable], examples[usable:]
            cut = self._cut(examples[np.argsort(-self.lengths[examples], kind="stable")])
            # of the epochs of an order, the second is the first that is shuffled
            turns = EpochOrder(len(cut), key(self.seed, f"batches {epoch} {start}"), 1).ranges(len(cut), 2 * len(cut))
            yield from (cut[place] for place, _ in turns)

    def shares(self, ranks: Ranks, epoch: int = 0) -> Iterator[NDArray[np.int64]]:
        """What one rank gets of each batch: every W-th example, so that ranks have about the same work.

        Raises ValueError where the ranks do not divide `rows_multiple`.
        """
        if self.rows_multiple % ranks.world_size:
            raise ValueError(f"batches of multiples of {self.rows_multiple} examples for {ranks.world_size} ranks")
        return (batch[ranks.rank :: ranks.world_size] for batch in self.batches(epoch))

    def _cut(self, examples: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Examples, longest first, into batches: each as long as its first."""
        bounds = [0]
        while bounds[-1] < len(examples):
            longest = int(_padded(self.lengths[examples[bounds[-1]]], self.pad_to_multiple))
            rows = self.most_tokens // longest // self.rows_multiple * self.rows_multiple
            bounds.append(min(len(examples), bounds[-1] + rows))
        return [examples[first:last] for first, last in pairwise(bounds)]


def collate(
    input_ids: Sequence[NDArray[Any]],
    labels: Sequence[NDArray[Any]] | None = None,
    *,
    pad_id: int,
    pad_to_multiple: int = 8,
) -> Batch:
    """Examples as a batch, int64 [n, L]: `input_ids`, `labels` (`IGNORED` on padding) and `attention_mask` (1, 0).

    L is the longest length, rounded up. Without `labels` the ids are their own, unshifted, the first one `IGNORED`.
    Raises ValueError where an example and its labels differ in length, there is none, or the multiple is below 1.
    """
    if pad_to_multiple < 1:
        raise ValueError(f"lengths padded to a multiple of {pad_to_multiple}")
    if not input_ids or (labels is not None and [*map(len, labels)] != [*map(len, input_ids)]):
        raise ValueError("no examples, or labels of other lengths than their examples")
    shape = (len(input_ids), int(_padded(max(map(len, input_ids)), pad_to_multiple)))
    ids, targets, mask = np.full(shape, pad_id), np.full(shape, IGNORED), np.zeros(shape, np.int64)
    for row, example in enumerate(input_ids):
        size = len(example)
        ids[row, :size] = example
        mask[row, :size] = 1
        if labels is None:
            targets[row, 1:size] = example[1:]
        else:
            targets[row, :size] = labels[row]
    named = {"input_ids": ids, "labels": targets, "attention_mask": mask}
    return {name: torch.from_numpy(values) for name, values in named.items()}


def _padded(length: Any, multiple: int) -> Any:
    return -(-length // multiple) * multiple
