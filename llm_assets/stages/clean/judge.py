"""Verdicts: which rules a document's statistics break.

Guarantees that a verdict follows from stored statistics and thresholds alone, so that others can be tried
without measuring again, and that every rule broken is reported, with value and threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from llm_assets.stages.clean.rules import Bound, Rule

REASON_TYPE: Final = pa.struct([("rule", pa.large_string()), ("value", pa.float64()), ("threshold", pa.float64())])
REASONS_TYPE: Final = pa.list_(REASON_TYPE)


@dataclass(frozen=True)
class Verdicts:
    """The verdicts of `rules` on each document.

    `values` (float64) holds the statistic that each rule looks at, `broken` (bool) whether it breaks the rule;
    both have shape [documents, rules].
    """

    rules: tuple[Rule, ...]
    values: npt.NDArray[np.float64]
    broken: npt.NDArray[np.bool_]

    @classmethod
    def joined(cls, documents: int, parts: Sequence[Verdicts]) -> Verdicts:
        """The verdicts of several groups of rules on the same documents, in the order of the groups."""
        values = [np.zeros((documents, 0), np.float64), *(part.values for part in parts)]
        broken = [np.zeros((documents, 0), np.bool_), *(part.broken for part in parts)]
        rules = tuple(rule for part in parts for rule in part.rules)
        return cls(rules, np.concatenate(values, axis=1), np.concatenate(broken, axis=1))

    @property
    def kept(self) -> npt.NDArray[np.bool_]:
        """Whether each document breaks no rule: bool[documents]."""
        return np.logical_not(np.any(self.broken, axis=1))

    def dropped_by(self) -> dict[str, npt.NDArray[np.bool_]]:
        """For each rule in order, the documents of which it is the first broken one: bool[documents] each.

        The masks are disjoint and, together, what is not `kept`: a waterfall.
        """
        earlier = np.cumsum(self.broken, axis=1) - self.broken
        first = self.broken & (earlier == 0)
        return {rule.name: first[:, number] for number, rule in enumerate(self.rules)}

    def reasons(self) -> pa.ListArray:
        """Every rule that each document breaks, in order, as `REASONS_TYPE`; an empty list for a kept one."""
        documents, rules = np.nonzero(self.broken)
        names = pa.array([rule.name for rule in self.rules], pa.large_string())
        thresholds = np.array([rule.threshold for rule in self.rules], np.float64)
        reasons = pa.StructArray.from_arrays(
            [
                names.take(pa.array(rules)),
                pa.array(self.values[documents, rules], pa.float64()),
                pa.array(thresholds[rules], pa.float64()),
            ],
            fields=list(REASON_TYPE),
        )
        offsets = np.concatenate([[0], np.cumsum(self.broken.sum(axis=1))])
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), reasons, type=REASONS_TYPE)


def judge(statistics: pa.StructArray, rules: Sequence[Rule]) -> Verdicts:
    """Compare the statistics, as `measure` returns and a table stores them, with the rules' thresholds.

    Raises KeyError where a rule names a statistic that the struct lacks, ValueError where statistics are null.
    """
    if statistics.null_count or any(column.null_count for column in statistics.flatten()):
        raise ValueError("documents without statistics cannot be judged")
    shape = (len(statistics), len(rules))
    values, broken = np.zeros(shape, np.float64), np.zeros(shape, np.bool_)
    for number, rule in enumerate(rules):
        measured = statistics.field(rule.statistic).to_numpy(zero_copy_only=False)
        values[:, number] = measured
        low = rule.bound is Bound.AT_LEAST
        broken[:, number] = measured < rule.threshold if low else measured > rule.threshold
    return Verdicts(tuple(rules), values, broken)
