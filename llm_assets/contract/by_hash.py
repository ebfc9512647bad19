"""Samples and splits by hash: which documents belong to a sample, a shard, a split or a fold.

Guarantees that what is decided by a document's hash alone (shards, splits, folds, simple samples) never changes when
other documents arrive. A stratified sample keeps the share of each stratum, so there it may. Which columns make
strata, and what a sample or a split is for, is decided elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash
from pydantic import Field, field_validator

from llm_assets.contract.stage import Parameters

Hashes = npt.NDArray[np.uint64]
_RANGE = 1 << 64


class SplitParameters(Parameters):
    """A key by which each document is assigned independently of the others; null assigns nothing.

    `shares` are those of named splits (only proportions count), in the order given; `folds` are those of a k-fold
    cross validation; `shards` are equal parts. `seed` is that of the hashes.
    """

    shares: dict[str, float] | None = Field(default=None, min_length=1)
    folds: int | None = Field(default=None, ge=2)
    shards: int | None = Field(default=None, ge=1)
    seed: int = 0

    @field_validator("shares")
    @classmethod
    def _positive(cls, shares: dict[str, float] | None) -> dict[str, float] | None:
        if shares is None:
            return None
        if not all(0 <= share < math.inf for share in shares.values()) or not sum(shares.values()) > 0:
            raise ValueError(f"shares must be 0 or more, and not all 0: {shares}")
        return shares


def assign(doc_ids: pa.Array, parameters: SplitParameters | None) -> dict[str, pa.Array]:
    """The columns "split" (large_string), "fold" and "shard" (int32) of documents; all null where not asked for.

    `doc_ids` is `binary(16)` without nulls.
    """
    asked = parameters or SplitParameters()
    split = fold = shard = pa.nulls(len(doc_ids))
    if asked.shares is not None:
        names = pa.array(list(asked.shares), pa.large_string())
        split = names.take(pa.array(split_of(hashes(doc_ids, asked.seed, "split"), asked.shares)))
    if asked.folds is not None:
        fold = pa.array(fold_of(hashes(doc_ids, asked.seed, "fold"), asked.folds))
    if asked.shards is not None:
        shard = pa.array(shard_of(hashes(doc_ids, asked.seed, "shard"), asked.shards))
    return {"split": split.cast(pa.large_string()), "fold": fold.cast(pa.int32()), "shard": shard.cast(pa.int32())}


def hashes(doc_ids: pa.Array, seed: int, purpose: str = "") -> Hashes:
    """A uniform hash of every document for a seed, uint64 [documents]: xxh3_64 of the 16 bytes of its id.

    `doc_ids` is `binary(16)` without nulls; ids are hashes already, seed and purpose make independent ones of them.
    """
    key = xxhash.xxh3_64_intdigest(f"{purpose}:{seed}".encode())
    data = doc_ids.buffers()[1]
    if len(doc_ids) == 0 or data is None:
        return np.empty(0, np.uint64)
    start = doc_ids.offset * 16
    ids = memoryview(data)[start : start + 16 * len(doc_ids)]
    hashed = (xxhash.xxh3_64_intdigest(ids[at : at + 16], key) for at in range(0, len(ids), 16))
    return np.fromiter(hashed, np.uint64, len(doc_ids))


def shard_of(hashed: Hashes, shards: int) -> npt.NDArray[np.int64]:
    """The shard of every document, 0 to `shards - 1`: equal ranges of the hash."""
    if shards < 1:
        raise ValueError(f"{shards} shards")
    return _scaled(hashed, shards)


def fold_of(hashed: Hashes, folds: int) -> npt.NDArray[np.int64]:
    """The fold of every document in a k-fold cross validation, 0 to `folds - 1`."""
    if folds < 2:
        raise ValueError(f"{folds} folds: at least 2")
    return _scaled(hashed, folds)


def split_of(hashed: Hashes, shares: Mapping[str, float]) -> npt.NDArray[np.int64]:
    """Index of every document's split in `shares`, which are 0 or more and not all 0.

    Split i has the hashes from the sum of the shares before it: a document changes its split only when shares change.
    """
    exact = [Fraction(repr(float(share))) for share in shares.values()]
    total, below, bounds = sum(exact), Fraction(0), list[int]()
    for share in exact[:-1]:
        below += share
        bounds.append(min(int(below / total * _RANGE), _RANGE - 1))
    return np.searchsorted(np.array(bounds, np.uint64), hashed, side="right").astype(np.int64)


def sampled(hashed: Hashes, fraction: float) -> npt.NDArray[np.bool_]:
    """Whether each document is in a sample of about `fraction` of all. A larger fraction contains a smaller one."""
    if not 0 <= fraction <= 1:
        raise ValueError(f"a fraction of {fraction}: 0 to 1")
    if fraction == 1:
        return np.ones(len(hashed), np.bool_)
    return hashed < np.uint64(int(Fraction(repr(float(fraction))) * _RANGE))


def quantile_strata(values: npt.NDArray[np.float64], strata: int) -> npt.NDArray[np.int64]:
    """The quantile stratum of every value, 0 (the smallest) to `strata - 1`; equal values share one."""
    if strata < 1:
        raise ValueError(f"{strata} strata")
    if not len(values):
        return np.empty(0, np.int64)
    bounds = np.quantile(values, np.arange(1, strata) / strata, method="lower")
    return np.searchsorted(bounds, values, side="right").astype(np.int64)


@dataclass(frozen=True)
class Stratum:
    """One stratum of a sample: how many documents it has and how many of them were taken."""

    documents: int
    taken: int


def stratified_sample(
    hashed: Hashes, strata: npt.NDArray[np.int64], fractions: float | Mapping[int, float]
) -> tuple[npt.NDArray[np.bool_], dict[int, Stratum]]:
    """Take from each stratum the rounded fraction of its documents that have the smallest hashes.

    `strata` is int64 [documents]; `fractions` is one for all strata, or one for each. Ties of hashes are broken by
    place. Returns a mask [documents] and the count of each stratum.
    """
    taken = np.zeros(len(hashed), np.bool_)
    counts: dict[int, Stratum] = {}
    order = np.lexsort((hashed, strata))
    names, starts = np.unique(strata[order], return_index=True)
    ends = np.append(starts[1:], len(order))
    for name, start, end in zip(names.tolist(), starts, ends[: len(names)], strict=True):
        members = order[start:end]
        fraction = fractions if isinstance(fractions, float | int) else fractions[name]
        if not 0 <= fraction <= 1:
            raise ValueError(f"stratum {name}: a fraction of {fraction}: 0 to 1")
        wanted = round(fraction * len(members))
        taken[members[:wanted]] = True
        counts[name] = Stratum(len(members), wanted)
    return taken, counts


def combined_strata(columns: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    """One stratum number for every combination of several that occurs, in lexicographic order."""
    if not columns:
        raise ValueError("no columns to make strata of")
    return np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _scaled(hashed: Hashes, parts: int) -> npt.NDArray[np.int64]:
    bounds = np.array([part * _RANGE // parts for part in range(1, parts)], np.uint64)
    return np.searchsorted(bounds, hashed, side="right").astype(np.int64)
