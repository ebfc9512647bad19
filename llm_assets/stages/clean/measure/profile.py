"""The profile of a snapshot's documents, and its difference from that of another snapshot.

Guarantees that a profile takes bounded memory (at most `MAX_DOCUMENTS` of the documents, evenly spread, stand for
all in the distributions), and that a difference that chance explains is told apart from one that it does not. Which
difference is worth a warning is decided elsewhere.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from llm_assets.stages.clean.findings import numbers
from llm_assets.stages.clean.language.language import LANGUAGE
from llm_assets.stages.clean.pii.spans import COUNTS_TYPE

MAX_DOCUMENTS: Final = 200_000

_BINS: Final = 10
_TAIL: Final = 0.001
"""Outliers lie beyond the quantiles 0.001 and 0.999 of the snapshot compared with: 0.2 % of an equal one do."""

_RARE: Final = 0.01
"""Languages with less than this share in both snapshots are one category: each alone is mostly chance."""

_Z: Final = 3.72
"""The standard normal quantile of 0.9999: of some fifty statistics, one shifts by chance in one of 200 snapshots."""


@dataclass(frozen=True)
class Profile:
    """`documents` in all, those `with_pii`, documents by language (where told), and samples of numbers.

    `numbers` are by statistic: float64 [documents of the sample].
    """

    documents: int
    with_pii: int
    languages: Mapping[str, int]
    numbers: Mapping[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Shift:
    """The population stability index of one distribution against another, and the most that chance explains of it."""

    index: float
    chance: float

    def over(self, limit: float) -> bool:
        """Whether it is over a limit, and not by chance."""
        return self.index > max(limit, self.chance)


def profile(findings: Iterable[pa.RecordBatch], documents: int) -> Profile:
    """The profile of that many documents, whose columns `columns.FINDINGS` come in batches."""
    every = max(1, math.ceil(documents / MAX_DOCUMENTS))
    seen = with_pii = 0
    languages: Counter[str] = Counter()
    samples: dict[str, list[npt.NDArray[np.float64]]] = {}
    for batch in findings:
        with_pii += _with_pii(batch["pii"])
        languages.update(_counts(batch[LANGUAGE]))
        chosen = pa.array(np.arange(-seen % every, len(batch), every))
        seen += len(batch)
        sample = numbers(batch.take(chosen))
        for name in sample.type.names if len(sample) else ():
            values = sample.field(name).to_numpy(zero_copy_only=False)
            samples.setdefault(name, []).append(values.astype(np.float64))
    return Profile(seen, with_pii, languages, {name: np.concatenate(each) for name, each in samples.items()})


def _with_pii(counts: pa.StructArray) -> int:
    if counts.null_count or not len(counts):
        return 0
    columns = [counts.field(name).to_numpy(zero_copy_only=False) for name in COUNTS_TYPE.names]
    return int(np.count_nonzero(np.sum(columns, axis=0)))


def _counts(languages: pa.LargeStringArray) -> dict[str, int]:
    counted = pc.call_function("value_counts", [languages.drop_null()])
    return {row["values"]: row["counts"] for row in counted.to_pylist()}


def statistics_shifts(before: Profile, after: Profile) -> dict[str, Shift]:
    """The shift of every number that both have, in tenths of the documents before.

    Index: the sum of (a - b) ln(a / b) over the shares of the bins, as in Siddiqi, Credit Risk Scorecards, 2006; there
    0.1 is a slight and 0.25 a major shift.
    """
    common = [name for name in before.numbers if name in after.numbers]
    return {name: _number_shift(before.numbers[name], after.numbers[name]) for name in common}


def _number_shift(before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]) -> Shift:
    edges = np.unique(np.quantile(before, np.arange(1, _BINS) / _BINS, method="lower"))
    bins = [np.bincount(np.searchsorted(edges, each), minlength=len(edges) + 1) for each in (before, after)]
    return _shift(*bins)


def language_shift(before: Profile, after: Profile) -> Shift:
    """The shift of the mix of languages; none where a snapshot has no language told."""
    totals = [sum(each.languages.values()) for each in (before, after)]
    if not all(totals):
        return Shift(0.0, 0.0)
    names = sorted({*before.languages, *after.languages})
    counts = np.array([[each.languages.get(name, 0) for name in names] for each in (before, after)], np.int64)
    rare = np.all(counts < _RARE * np.array(totals)[:, None], axis=0)
    bins = np.concatenate([counts[:, ~rare], counts[:, rare].sum(axis=1, keepdims=True)], axis=1)
    bins = bins[:, bins.sum(axis=0) > 0]
    return _shift(bins[0], bins[1])


def _shift(before: npt.NDArray[np.int64], after: npt.NDArray[np.int64]) -> Shift:
    """Half a document is added to each bin, so that an empty one does not make the index infinite.

    Of two samples of one population the index is distributed as (1/n + 1/m) times chi-squared with one degree of
    freedom less than bins (Yurdakul, Statistical Properties of Population Stability Index, 2018); the quantile is that
    of Wilson and Hilferty, 1931.
    """
    shares = [(each + 0.5) / (each.sum() + 0.5 * len(each)) for each in (before, after)]
    index = float(np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0])))
    degrees = len(before) - 1
    if degrees == 0:
        return Shift(0.0, 0.0)
    spread = 2 / (9 * degrees)
    quantile = degrees * (1 - spread + _Z * math.sqrt(spread)) ** 3
    return Shift(index, quantile * (1 / before.sum() + 1 / after.sum()))


@dataclass(frozen=True)
class Outliers:
    """Documents of a sample that lie beyond nearly all of another's, and the share that chance explains.

    More than 14/n of a population lies beyond the outermost of n values drawn from it with a probability of 15 e⁻¹⁴.
    """

    outside: int
    documents: int
    chance: float

    @property
    def rate(self) -> float:
        """Their share."""
        return self.outside / self.documents if self.documents else 0.0

    def over(self, limit: float) -> bool:
        """Whether their share is over a limit, and by more than three standard deviations of such a count."""
        expected = (limit + self.chance) * self.documents
        return self.outside > expected + 3 * math.sqrt(expected + 1)


def outliers(before: Profile, after: Profile) -> dict[str, Outliers]:
    """By number, the documents after that lie beyond the quantiles 0.001 and 0.999 of those before."""
    found: dict[str, Outliers] = {}
    for name, values in after.numbers.items():
        if name in before.numbers:
            low, high = np.quantile(before.numbers[name], [_TAIL, 1 - _TAIL])
            outside = int(np.count_nonzero((values < low) | (values > high)))
            found[name] = Outliers(outside, len(values), 14 / len(before.numbers[name]))
    return found
