"""A few rows and distributions for a person to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

SAMPLE_ROWS = 5
PREVIEW_CHARACTERS = 300
_HEAD = 8


def preview(text: str, length: int = PREVIEW_CHARACTERS) -> str:
    """The beginning of a text, on one line."""
    head = text[: _HEAD * length]  # of a text of 200 MB the rest need not be looked at
    one_line = " ".join(head.split())
    if len(one_line) <= length and len(head) == len(text):
        return one_line
    return one_line[: length - 1] + "…"


def spread(count: int) -> npt.NDArray[np.int64]:
    """Places of some of so many rows, from the first to the last, int64 [at most `SAMPLE_ROWS`]."""
    return np.linspace(0, count - 1, min(SAMPLE_ROWS, count)).astype(np.int64)


def sample_rows(batch: pa.RecordBatch | pa.Table | None) -> list[Mapping[str, str]]:
    """Some rows spread over a batch, every value as a short text."""
    if batch is None or batch.num_rows == 0:
        return []
    rows = batch.take(pa.array(spread(batch.num_rows))).to_pylist()
    return [{name: _shown(value) for name, value in row.items()} for row in rows]


def _shown(value: object) -> str:
    if value is None:
        return ""
    return value.hex() if isinstance(value, bytes) else preview(str(value))


def concatenated(arrays: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """One array of all values; empty where there are none."""
    return np.concatenate(arrays) if arrays else np.empty(0, np.int64)
