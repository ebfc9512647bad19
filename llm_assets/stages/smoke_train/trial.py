"""A trained model tried on the validation set of a version: which rows, and what they say of each source.

Guarantees as many rows of one source as of another, or all that it has, whatever the model was trained on: reports on
versions with the same validation set are about the same rows. How losses come about is the model's business.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from llm_assets.stages.mix.version.validation_set import rows_by_source
from llm_assets.store.shards.shard_set import ShardSet

if TYPE_CHECKING:
    from llm_assets.stages.smoke_train.tiny_model import Trial

RowsBySource = Mapping[str, npt.NDArray[np.int64]]
"""Source to rows of the validation set, int64 [n], rising."""


@dataclass(frozen=True)
class Chosen:
    """The rows of a validation set that a model is tried on. `shards` is None where there is no such set."""

    shards: ShardSet | None
    by_source: RowsBySource

    @staticmethod
    def of(held_out: ShardSet | None, at_most: int) -> Chosen:
        """See `rows_to_try`."""
        return Chosen(held_out, rows_to_try(rows_by_source(held_out), at_most) if held_out else {})

    @cached_property
    def rows(self) -> npt.NDArray[np.int64]:
        """All of them, int64 [rows], source by source."""
        return np.concatenate([np.empty(0, np.int64), *self.by_source.values()])

    @property
    def tokens(self) -> int:
        """Tokens in them, without padding."""
        if self.shards is None:
            return 0
        return sum(int(self.shards.document_lengths(row, row + 1).lengths.sum()) for row in self.rows.tolist())

    @property
    def description(self) -> str:
        """What they are, for people."""
        if self.shards is None:
            return "nothing: the version has no held-out rows; declare held_out in the mixture"
        if not len(self.rows):
            return "nothing: held_out_rows is 0"
        return f"{len(self.rows):,} of the {self.shards.rows:,} rows of the version's validation set"


def rows_to_try(by_source: Mapping[str, range], at_most: int) -> RowsBySource:
    """The same number of rows of every source, or all that it has, each evenly spread over the source's rows.

    Together they are `at_most`, or the next number below that can be divided so; but each source that has rows has one
    at least, if `at_most` is not 0.
    """
    there = {source: rows for source, rows in by_source.items() if len(rows)}
    if not at_most or not there:
        return {}
    each = max(1, _equal_part([len(rows) for rows in there.values()], at_most))
    return {source: _spread(rows, min(each, len(rows))) for source, rows in there.items()}


def _equal_part(counts: list[int], at_most: int) -> int:
    """The largest number of which no more than `at_most` are taken, if it is taken of each count, or all of it."""
    left = at_most
    for place, count in enumerate(sorted(counts)):
        part = left // (len(counts) - place)
        if count > part:
            return part
        left -= count
    return max(counts)


def _spread(rows: range, count: int) -> npt.NDArray[np.int64]:
    return rows.start + np.arange(count, dtype=np.int64) * len(rows) // count


def by_source(chosen: Chosen, trial: Trial, *, bytes_known: bool) -> dict[str, dict[str, Any]]:
    """Rows, targets (`tokens`) and mean losses of each source; None for a mean that cannot be known.

    The trial is one of `chosen.rows`, in their order.
    """
    found: dict[str, dict[str, Any]] = {}
    first = 0
    for source, mine in chosen.by_source.items():
        here = slice(first, first + len(mine))
        bits = float(trial.nats[here].sum()) / math.log(2)
        targets = int(trial.targets[here].sum())
        found[source] = {
            "rows": len(mine),
            "tokens": targets,
            "bits_per_token": _mean(bits, targets),
            "bits_per_byte": _mean(bits, int(trial.bytes[here].sum())) if bytes_known else None,
        }
        first = here.stop
    return found


def _mean(total: float, count: int) -> float | None:
    return total / count if count and math.isfinite(total) else None
