"""Names and types of the fields that a batch can have. Defines them only; `batch` and `device` compute them."""

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
        """Block until the device has passed this point."""
        ...


ALL_FIELDS: tuple[Field, ...] = get_args(Field)
FIELDS: tuple[Field, ...] = ("input_ids", "labels", "position_ids", "document_ids")
"""The fields of a batch by default."""

PER_TOKEN = frozenset[Field](FIELDS)
"""Fields with a value for each token: [b, L], in the type asked for."""

NEEDS_RUNS = frozenset[Field](["labels", "position_ids", "document_ids", "cu_seqlens", "max_seqlen"])
"""Fields that depend on document boundaries."""

IGNORED = -100
"""Label of a token that is no target: the default `ignore_index` of torch's cross entropy."""


def checked_fields(fields: Sequence[Field]) -> tuple[Field, ...]:
    """The fields asked for. Raises ValueError for none, an unknown one, or one named twice."""
    if isinstance(fields, str):
        raise ValueError(f"fields {fields!r} is a string: give a list of names, as [{fields!r}]")
    wanted = tuple(fields)
    if unknown := [name for name in wanted if name not in ALL_FIELDS]:
        raise ValueError(f"unknown fields {unknown}: choose from {ALL_FIELDS}, each once")
    if not wanted or len({*wanted}) != len(wanted):
        raise ValueError(f"fields {wanted}: choose one or more of {ALL_FIELDS}, each once")
    return wanted


def field_type(field: Field, dtype: Dtype, stored: np.dtype[np.generic], vocabulary_size: int) -> np.dtype[np.generic]:
    """Type of a field with a value per token.

    `int64` and `int32` apply to every field. `narrow` keeps `input_ids` as stored (uint16 or uint32) and makes the
    others, which can be negative, int32. Raises ValueError where the ids of the vocabulary do not fit.
    """
    if dtype not in get_args(Dtype):
        raise ValueError(f"dtype {dtype!r}: choose one of {get_args(Dtype)}")
    if dtype == "narrow" and field == "input_ids":
        return stored
    if dtype == "int64":
        return np.dtype(np.int64)
    if field in ("input_ids", "labels") and vocabulary_size > 1 << 31:
        raise ValueError(f"ids of a vocabulary of {vocabulary_size} do not fit in int32: use int64")
    return np.dtype(np.int32)
