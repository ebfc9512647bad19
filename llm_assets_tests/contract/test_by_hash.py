"""Samples and splits by hash, against brute force and against arrivals of other documents."""

from __future__ import annotations

import hashlib
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from llm_assets.contract.by_hash import (
    SplitParameters,
    assign,
    combined_strata,
    fold_of,
    hashes,
    quantile_strata,
    sampled,
    shard_of,
    split_of,
    stratified_sample,
)


def ids(count: int, first: int = 0) -> pa.Array:
    values = [hashlib.blake2b(str(n).encode(), digest_size=16).digest() for n in range(first, first + count)]
    return pa.array(values, pa.binary(16))


def test_hashes_are_xxh3_of_each_id_also_of_a_slice() -> None:
    array = ids(50)
    key = xxhash.xxh3_64_intdigest(b"fold:7")
    expected = [xxhash.xxh3_64_intdigest(value.as_py(), key) for value in array]
    assert hashes(array, 7, "fold").tolist() == expected
    assert hashes(array.slice(13, 20), 7, "fold").tolist() == expected[13:33]
    assert hashes(array.slice(0, 0), 7, "fold").tolist() == []


def test_a_split_never_changes_when_others_arrive() -> None:
    shares = {"train": 0.9, "validation": 0.05, "test": 0.05}
    parameters = SplitParameters(shares=shares, folds=5, shards=64, seed=3)
    before = assign(ids(500), parameters)
    after = assign(pa.concat_arrays([ids(2000, first=500), ids(500)]), parameters)
    assert {name: column.to_pylist()[2000:] for name, column in after.items()} == {
        name: column.to_pylist() for name, column in before.items()
    }
    assert set(before["split"].to_pylist()) == set(shares)
    assert set(before["fold"].to_pylist()) == set(range(5))


def test_split_fold_and_shard_are_independent_of_each_other() -> None:
    columns = assign(ids(20_000), SplitParameters(shares={"a": 0.5, "b": 0.5}, folds=2, shards=2))
    halves = [np.array([value in ("a", 0) for value in column.to_pylist()]) for column in columns.values()]
    assert all(abs((one & other).mean() - 0.25) < 0.02 for one, other in combinations(halves, 2))


def test_what_is_not_asked_for_is_null() -> None:
    for parameters in (None, SplitParameters()):
        columns = assign(ids(3), parameters)
        assert [column.null_count for column in columns.values()] == [3, 3, 3]
        assert [str(column.type) for column in columns.values()] == ["large_string", "int32", "int32"]


def test_splits_have_their_shares() -> None:
    counts = np.bincount(split_of(hashes(ids(40_000), 0), {"train": 8, "validation": 1, "none": 0, "test": 1}))
    assert counts[2] == 0
    assert counts.sum() == 40_000
    assert np.abs(counts / 40_000 - [0.8, 0.1, 0, 0.1]).max() < 0.01


@given(st.lists(st.integers(0, 2**64 - 1), max_size=50), st.integers(1, 40))
def test_shards_are_equal_ranges_of_the_hash(values: list[int], shards: int) -> None:
    expected = [next(s for s in range(shards) if v < (s + 1) * 2**64 // shards) for v in values]
    assert shard_of(np.array(values, np.uint64), shards).tolist() == expected


def test_folds_partition_the_documents() -> None:
    folds = fold_of(hashes(ids(5000), 1), 5)
    assert set(folds.tolist()) == set(range(5))
    assert np.abs(np.bincount(folds) - 1000).max() < 150


def test_a_larger_sample_contains_a_smaller_one() -> None:
    hashed = hashes(ids(10_000), 0)
    small, large = sampled(hashed, 0.1), sampled(hashed, 0.3)
    assert not (small & ~large).any()
    assert abs(small.mean() - 0.1) < 0.02
    assert sampled(hashed, 1.0).all()
    assert not sampled(hashed, 0.0).any()


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 3)), max_size=60), st.floats(0, 1))
def test_a_stratified_sample_takes_the_smallest_hashes_of_each(rows: list[tuple[int, int]], fraction: float) -> None:
    hashed = np.array([h for h, _ in rows], np.uint64)
    strata = np.array([s for _, s in rows], np.int64)
    taken, counts = stratified_sample(hashed, strata, fraction)
    for stratum in {s for _, s in rows}:
        members = sorted((h, place) for place, (h, s) in enumerate(rows) if s == stratum)
        wanted = {place for _, place in members[: round(fraction * len(members))]}
        assert {place for _, place in members if taken[place]} == wanted
        assert (counts[stratum].documents, counts[stratum].taken) == (len(members), len(wanted))


@given(st.lists(st.integers(-5, 5), max_size=60), st.integers(1, 6))
def test_quantile_strata_rise_with_the_value(values: list[int], strata: int) -> None:
    array = np.array(values, np.float64)
    stratum = quantile_strata(array, strata)
    assert all(0 <= s < strata for s in stratum.tolist())
    for a, b in zip(values, stratum.tolist(), strict=True):
        assert all((c <= a) == (d <= b) or a == c or d == b for c, d in zip(values, stratum.tolist(), strict=True))


def test_quantile_strata_are_equal_in_size_for_distinct_values() -> None:
    values = np.random.default_rng(0).permutation(1000).astype(np.float64)
    assert np.abs(np.bincount(quantile_strata(values, 4)) - 250).max() <= 1


def test_strata_of_several_columns() -> None:
    combined = combined_strata([np.array([0, 0, 1, 1, 0]), np.array([2, 1, 2, 2, 2])])
    assert combined.tolist() == [1, 0, 2, 2, 1]


@pytest.mark.parametrize("shares", [{}, {"a": -1.0}, {"a": 0.0}, {"a": float("nan")}, {"a": float("inf")}])
def test_nonsense_shares_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        SplitParameters(shares=shares)


def test_nonsense_arguments_are_refused() -> None:
    hashed = hashes(ids(3), 0)
    for call in (
        lambda: shard_of(hashed, 0),
        lambda: fold_of(hashed, 1),
        lambda: sampled(hashed, 1.5),
        lambda: quantile_strata(np.ones(3), 0),
        lambda: stratified_sample(hashed, np.zeros(3, np.int64), -0.1),
        lambda: combined_strata([]),
    ):
        with pytest.raises(ValueError):
            call()
