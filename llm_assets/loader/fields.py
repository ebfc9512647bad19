"""The fields a batch can have, and in which types: the vocabulary of the loader.

Nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, get_args

import numpy as np
import torch

Field = Literal["input_ids", "labels", "position_ids", "document_ids", "cu_seqlens", "max_seqlen", "row_ids"]
Dtype = Literal["int64", "int32", "narrow"]
Batch = dict[str, torch.Tensor]


class Mark(Protocol):
    """A point in the work of a device, such as a CUDA event."""

    def synchronize(self) -> None:
        """Wait until the device has passed it."""
        ...


ALL_FIELDS: tuple[Field, ...] = get_args(Field)
FIELDS: tuple[Field, ...] = ("input_ids", "labels", "position_ids", "document_ids")
"""What a batch has unless others are asked for."""

PER_TOKEN = frozenset[Field](FIELDS)
"""Fields with a value for each token: [b, L], in the type asked for."""

NEEDS_RUNS = frozenset[Field](["labels", "position_ids", "document_ids", "cu_seqlens", "max_seqlen"])
"""Fields that depend on where documents begin."""

IGNORED = -100
"""Label of a token that is no target: what torch's cross entropy ignores by default."""


def checked_fields(fields: Sequence[Field]) -> tuple[Field, ...]:
    """The fields asked for. Raises ValueError for none, an unknown one, or one named twice."""
    if isinstance(fields, str):
        raise ValueError(f"fields {fields!r}: a list of names, as [{fields!r}]")
    wanted = tuple(fields)
    if unknown := [name for name in wanted if name not in ALL_FIELDS]:
        raise ValueError(f"there are no fields {unknown}: choose each once, of {ALL_FIELDS}")
    if not wanted or len({*wanted}) != len(wanted):
        raise ValueError(f"fields {wanted}: choose each once, of {ALL_FIELDS}")
    return wanted


def field_type(field: Field, dtype: Dtype, stored: np.dtype[np.generic], vocabulary_size: int) -> np.dtype[np.generic]:
    """Type of a field that has a value for each token.

    `int64` and `int32` are for all of them. `narrow` leaves `input_ids` as they are stored (uint16 or uint32); the
    others, which can be negative, are int32. Raises ValueError where the ids of the vocabulary do not fit.
    """
    if dtype not in get_args(Dtype):
        raise ValueError(f"dtype {dtype!r}: one of {get_args(Dtype)}")
    if dtype == "narrow" and field == "input_ids":
        return stored
    if dtype == "int64":
        return np.dtype(np.int64)
    if field in ("input_ids", "labels") and vocabulary_size > 1 << 31:
        raise ValueError(f"ids of a vocabulary of {vocabulary_size} do not fit in int32")
    return np.dtype(np.int32)
