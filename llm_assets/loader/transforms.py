"""Batch transforms on the device of the batch: masking, replacement and rotation of tokens.

Guarantees that the result for a row depends only on the seed and its place in the stream (field `row_ids`, required),
not on batch, rank or device. A transform returns a new dict, leaves its input tensors unchanged and passes on the
other fields. All raise ValueError for a batch without a field they need. `input_ids` keep their type.
Transforms of users are subclasses of `Transform` as these are.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar

import torch

from llm_assets.loader.chance import below, draw, happens, key
from llm_assets.loader.fields import IGNORED, Batch, Field
from llm_assets.loader.runs import PADDING


class Transform(ABC):
    """A change to batches. A transform is a frozen dataclass, whose fields are its parameters: JSON values.

    Raise `version` whenever the same parameters would give other batches: a loader keeps it in its state.
    """

    version: ClassVar[str]

    @abstractmethod
    def __call__(self, batch: Batch) -> Batch:
        """The batch changed, as a new dict. What becomes of a row should depend on its `row_ids` and the parameters."""


def identity(transform: object) -> dict[str, Any]:
    """The entry of a transform in a saved state: `use` (`package.module:Class`), `version` and parameters, as JSON.

    Raises ValueError for what is no transform as `Transform` asks for.
    """
    kind = type(transform)
    use = f"{kind.__module__}:{kind.__qualname__}"
    if not isinstance(transform, Transform) or not is_dataclass(transform):
        raise ValueError(
            f"{use} is no transform: make it a dataclass (frozen) and a subclass of {Transform.__qualname__}"
        )
    version = getattr(transform, "version", None)
    if not isinstance(version, str):
        raise ValueError(f'{use} has no version: give it `version = "1"`')
    parameters = {each.name: getattr(transform, each.name) for each in fields(transform)}
    try:
        return json.loads(json.dumps({"use": use, "version": version, "parameters": parameters}))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{use}: its fields must be JSON values, to be kept in states: {error}") from error


def transformed(batch: Batch, transforms: Sequence[Transform], where: str) -> Batch:
    """The batch after all transforms, in order. What one raises gets a note that names it, and `where` it was."""
    for transform in transforms:
        kind = type(transform)
        try:
            batch = transform(batch)
            if not isinstance(batch, dict):  # pyright: ignore[reportUnnecessaryIsInstance]: code of users
                raise TypeError(f"it gave a {type(batch).__name__}, not a dict of tensors")
        except Exception as error:
            error.add_note(f"raised by {kind.__module__}:{kind.__qualname__}, version {transform.version}, {where}")
            raise
    return batch


@dataclass(frozen=True)
class RandomMask(Transform):
    """Masked language modelling (Devlin et al. 2019): chosen tokens are hidden, and are the only targets.

    Each token is chosen with `probability`, except padding (needs `document_ids`) and ids in `never`. Of the chosen
    ones the share `masked` become `mask_id`, the share `replaced` a random id of the vocabulary, and the rest stay.
    `labels` become the original ids of the chosen tokens and `IGNORED` elsewhere, unshifted.
    Raises ValueError for probabilities outside 0 to 1.
    """

    version: ClassVar[str] = "1"
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
        """The batch with new `input_ids` and `labels`."""
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
class RandomReplace(Transform):
    """Noise: each token becomes a random id of the vocabulary with `probability`; labels stay as they are.

    Padding (needs `document_ids`) and ids in `never` stay. Raises ValueError for a probability outside 0 to 1.
    """

    version: ClassVar[str] = "1"
    vocabulary_size: int
    probability: float
    never: Sequence[int] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self.probability)

    def __call__(self, batch: Batch) -> Batch:
        """The batch with new `input_ids`."""
        ids, stored = _ids(batch)
        rows, places = _where(batch)
        chosen = happens(draw(key(self.seed, "replace"), rows, places), self.probability) & _tokens(batch, self.never)
        other = below(draw(key(self.seed, "with"), rows, places), self.vocabulary_size).to(ids.dtype)
        return batch | {"input_ids": torch.where(chosen, other, ids).to(stored)}


@dataclass(frozen=True)
class RandomRotation(Transform):
    """Document rotation (Lewis et al. 2020): with `probability`, a document is rotated to start at a random token.

    The tokens before that one follow the end; labels, positions and boundaries stay. Needs `position_ids` and
    `document_ids`; padding stays. Raises ValueError for a probability outside 0 to 1.
    """

    version: ClassVar[str] = "1"
    probability: float
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self.probability)

    def __call__(self, batch: Batch) -> Batch:
        """The batch with new `input_ids`."""
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
    """The ids [b, L], widened to a type that torch can fill and gather, and their original type."""
    ids = _field(batch, "input_ids")
    return (ids if ids.dtype in (torch.int64, torch.int32) else ids.to(torch.int32)), ids.dtype


def _where(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of the stream [b, 1] and places in the row [b, L], int64."""
    ids = _field(batch, "input_ids")
    return _field(batch, "row_ids")[:, None], torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)


def _tokens(batch: Batch, never: Sequence[int]) -> torch.Tensor:
    """Tokens that may change, bool [b, L]."""
    allowed = _field(batch, "document_ids") != PADDING
    for token in never:
        allowed = allowed & (batch["input_ids"] != token)
    return allowed


def _check(*probabilities: float) -> None:
    for probability in probabilities:
        if not 0 <= probability <= 1:
            raise ValueError(f"a probability of {probability}: give a number from 0 to 1")
