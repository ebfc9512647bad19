"""Batches of examples of similar length, with little padding: for labelled data that is not packed.

Guarantees that the batches follow from lengths, parameters and epoch alone, that each example is in at most one batch
of an epoch, and that ranks share every batch evenly. The caller reads the examples.
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

    Each `window` of examples is sorted by length and cut into batches from the longest down; the batches of a window
    are then shuffled. The first epoch takes the examples in the order of `lengths`, later ones shuffle them by `seed`
    in blocks of 16. The number of examples in a batch is a multiple of `rows_multiple`, so that this number of ranks,
    or any divisor of it, share it evenly. The remainder of a window is carried over to the next one; that of the
    epoch, fewer than `rows_multiple` examples, is not delivered. Lengths are rounded up to `pad_to_multiple`.
    Raises ValueError where lengths are not positive integers, a parameter is below 1, or `rows_multiple` examples of
    the greatest length do not fit in a batch.
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
            raise ValueError(f"lengths of shape {lengths.shape}: give one for each example, at least one")
        if lengths.dtype.kind not in "iu" or int(lengths.min()) < 1:
            raise ValueError(f"lengths are {lengths.dtype}, the least {lengths.min()}: give integers of 1 or more")
        object.__setattr__(self, "lengths", lengths.astype(np.int64))  # unsigned integers cannot be negated
        longest = int(_padded(self.lengths.max(), self.pad_to_multiple))
        if longest * self.rows_multiple > self.most_tokens:
            raise ValueError(
                f"{self.rows_multiple} examples of {longest} tokens exceed most_tokens={self.most_tokens}: raise it, "
                "or cut the examples"
            )

    def batches(self, epoch: int = 0) -> Iterator[NDArray[np.int64]]:
        """The examples of each global batch of an epoch, longest first, int64 [n].

        To resume, skip the batches that were trained on (`itertools.islice`): no data is read. Raises ValueError for
        an epoch below 0.
        """
        if epoch < 0:
            raise ValueError(f"epoch {epoch}: epochs count from 0")
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
            # EpochOrder shuffles from its second epoch on
            turns = EpochOrder(len(cut), key(self.seed, f"batches {epoch} {start}"), 1).ranges(len(cut), 2 * len(cut))
            yield from (cut[place] for place, _ in turns)

    def shares(self, ranks: Ranks, epoch: int = 0) -> Iterator[NDArray[np.int64]]:
        """The share of one rank in each batch: every W-th example, so that all ranks have similar lengths.

        Raises ValueError where the ranks do not divide `rows_multiple`.
        """
        if self.rows_multiple % ranks.world_size:
            raise ValueError(
                f"{ranks.world_size} ranks do not share batches evenly: set rows_multiple ({self.rows_multiple}) to a "
                "multiple of that"
            )
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
    """Pad examples to a batch, int64 [n, L]: `input_ids`, `labels` (`IGNORED` on padding), `attention_mask` (1 or 0).

    L is the greatest length, rounded up. Without `labels` the ids are the labels, unshifted, the first one `IGNORED`.
    Raises ValueError where an example and its labels differ in length, there are no examples, or the multiple is
    below 1.
    """
    if pad_to_multiple < 1:
        raise ValueError(f"pad_to_multiple={pad_to_multiple}: give 1 or more")
    if not input_ids or (labels is not None and [*map(len, labels)] != [*map(len, input_ids)]):
        raise ValueError("give at least one example, and labels as long as their examples")
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
