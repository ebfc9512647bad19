"""Evaluation of a trained model on the validation set of a version: choice of rows, and losses by source.

Guarantees the same number of rows of each source, or all that it has, independent of the training: reports on versions
with the same validation set use the same rows. `tiny_model` computes the losses.
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
"""Source → rows of the validation set, int64 [n], increasing."""


@dataclass(frozen=True)
class Chosen:
    """The rows of a validation set for the evaluation. `shards` is None where the version has none."""

    shards: ShardSet | None
    by_source: RowsBySource

    @staticmethod
    def of(held_out: ShardSet | None, at_most: int) -> Chosen:
        """Choose at most `at_most` rows of a validation set: see `rows_to_try`."""
        return Chosen(held_out, rows_to_try(rows_by_source(held_out), at_most) if held_out else {})

    @cached_property
    def rows(self) -> npt.NDArray[np.int64]:
        """All rows, int64 [rows], source by source."""
        return np.concatenate([np.empty(0, np.int64), *self.by_source.values()])

    @property
    def tokens(self) -> int:
        """Tokens in all rows, without padding."""
        if self.shards is None:
            return 0
        return sum(int(self.shards.document_lengths(row, row + 1).lengths.sum()) for row in self.rows.tolist())

    @property
    def description(self) -> str:
        """A description of the rows for the report."""
        if self.shards is None:
            return "nothing: the version has no held-out rows; declare held_out in the mixture"
        if not len(self.rows):
            return "nothing: held_out_rows is 0"
        return f"{len(self.rows):,} of the {self.shards.rows:,} rows of the version's validation set"


def rows_to_try(by_source: Mapping[str, range], at_most: int) -> RowsBySource:
    """Choose the same number of rows of every source, or all that it has, evenly spread over the source's rows.

    The total is at most `at_most`, as close to it as equal numbers allow; but at least one row of each source, unless
    `at_most` is 0.
    """
    there = {source: rows for source, rows in by_source.items() if len(rows)}
    if not at_most or not there:
        return {}
    each = max(1, _equal_part([len(rows) for rows in there.values()], at_most))
    return {source: _spread(rows, min(each, len(rows))) for source, rows in there.items()}


def _equal_part(counts: list[int], at_most: int) -> int:
    """The largest n for which the sum of min(n, count) over all counts is at most `at_most`."""
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
    """Rows, targets (`tokens`) and mean losses of each source; None for a mean that is not finite or not known.

    `trial` is the evaluation of `chosen.rows`, in their order.
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
