"""Changes to batches where they are: masked, replaced and rotated tokens.

Guarantees that what becomes of a row depends on the seed and its place in the stream (`row_ids`, which batches must
have) alone: not on the batch, the rank or the device. A transform returns a new dict and leaves the tensors it was
given as they were; those it does not concern are passed on. All raise ValueError for a batch without a field they
need. With `dtype="narrow"` `input_ids` keep their type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from llm_assets.loader.chance import below, draw, happens, key
from llm_assets.loader.fields import IGNORED, Batch, Field
from llm_assets.loader.runs import PADDING


@dataclass(frozen=True)
class RandomMask:
    """Masked language modelling (Devlin et al. 2019): tokens are hidden, and are the only targets.

    Each token is chosen with `probability`, but for padding (needs `document_ids`) and those in `never`. Of the chosen,
    the share `masked` become `mask_id`, `replaced` another token of the vocabulary at random, and the others stay.
    `labels` become the original ids of the chosen, `IGNORED` elsewhere, unshifted.
    Raises ValueError for probabilities that are none.
    """

    mask_id: int
    vocabulary_size: int
    probability: float = 0.15
    masked: float = 0.8
    replaced: float = 0.1
    never: Sequence[int] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self.probability, self.masked, self.replaced, self.masked + self.replaced)

    def __call__(self, batch: Batch) -> Batch:
        """The batch with other `input_ids` and `labels`."""
        ids, stored = _ids(batch)
        rows, places = _where(batch)
        chosen = happens(draw(key(self.seed, "choose"), rows, places), self.probability) & _tokens(batch, self.never)
        how = draw(key(self.seed, "how"), rows, places)
        hidden = happens(how, self.masked)
        changed = happens(how, self.masked + self.replaced) & ~hidden
        other = below(draw(key(self.seed, "other"), rows, places), self.vocabulary_size).to(ids.dtype)
        new = torch.where(chosen & changed, other, ids).masked_fill(chosen & hidden, self.mask_id)
        return batch | {"input_ids": new.to(stored), "labels": ids.masked_fill(~chosen, IGNORED)}


@dataclass(frozen=True)
class RandomReplace:
    """Noise: each token becomes another of the vocabulary at random with `probability`; targets stay as they are.

    Padding (needs `document_ids`) and the tokens in `never` stay. Raises ValueError for a probability that is none.
    """

    vocabulary_size: int
    probability: float
    never: Sequence[int] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self.probability)

    def __call__(self, batch: Batch) -> Batch:
        """The batch with other `input_ids`."""
        ids, stored = _ids(batch)
        rows, places = _where(batch)
        chosen = happens(draw(key(self.seed, "replace"), rows, places), self.probability) & _tokens(batch, self.never)
        other = below(draw(key(self.seed, "with"), rows, places), self.vocabulary_size).to(ids.dtype)
        return batch | {"input_ids": torch.where(chosen, other, ids).to(stored)}


@dataclass(frozen=True)
class RandomRotation:
    """Document rotation (Lewis et al. 2020): with `probability` a document begins at a random token of it.

    What was before that token comes after its end; targets, positions and boundaries stay. Needs `position_ids` and
    `document_ids`; padding stays. Raises ValueError for a probability that is none.
    """

    probability: float
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self.probability)

    def __call__(self, batch: Batch) -> Batch:
        """The batch with other `input_ids`."""
        ids, stored = _ids(batch)
        positions = _field(batch, "position_ids").to(torch.int64)
        rows, places = _where(batch)
        starts = places - positions
        lengths = torch.zeros_like(starts).scatter_add_(1, starts, torch.ones_like(starts)).gather(1, starts)
        by = below(draw(key(self.seed, "by"), rows, starts), lengths)
        turned = happens(draw(key(self.seed, "rotate"), rows, starts), self.probability)
        turned &= _field(batch, "document_ids") != PADDING
        source = starts + (positions + by) % lengths
        return batch | {"input_ids": ids.gather(1, torch.where(turned, source, places)).to(stored)}


def _field(batch: Batch, name: Field) -> torch.Tensor:
    if name not in batch:
        raise ValueError(f"a batch without {name}, which this transform needs: ask the loader for that field")
    return batch[name]


def _ids(batch: Batch) -> tuple[torch.Tensor, torch.dtype]:
    """The ids [b, L], and their type; narrow ones widened, since torch cannot fill or gather them."""
    ids = _field(batch, "input_ids")
    return (ids if ids.dtype in (torch.int64, torch.int32) else ids.to(torch.int32)), ids.dtype


def _where(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of the stream [b, 1] and places in the row [b, L], int64."""
    ids = _field(batch, "input_ids")
    return _field(batch, "row_ids")[:, None], torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)


def _tokens(batch: Batch, never: Sequence[int]) -> torch.Tensor:
    """Tokens that may be changed, bool [b, L]."""
    allowed = _field(batch, "document_ids") != PADDING
    for token in never:
        allowed = allowed & (batch["input_ids"] != token)
    return allowed


def _check(*probabilities: float) -> None:
    for probability in probabilities:
        if not 0 <= probability <= 1:
            raise ValueError(f"a probability of {probability}")
