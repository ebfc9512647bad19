"""The keyed permutation: a bijection for every size, and it looks random."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from llm_assets.stages.mix.permutation import MAX_SIZE, permutation_keys, permute, unpermute

AROUND_POWERS_OF_TWO = [2**bits + extra for bits in range(1, 17) for extra in (-1, 0, 1)]


def whole(size: int, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    return permute(np.arange(size), size, keys)


@pytest.mark.parametrize("size", [0, 1, *sorted(set(AROUND_POWERS_OF_TWO)), 100_000])
def test_every_element_comes_once(size: int) -> None:
    for repetition in range(3):
        image = whole(size, permutation_keys(0, "web", repetition))
        assert np.array_equal(np.sort(image), np.arange(size))


@settings(deadline=None)
@given(st.integers(1, 3_000), st.integers(0, 2**63 - 1), st.text(max_size=5), st.integers(0, 10**12))
def test_every_element_comes_once_with_any_key(size: int, seed: int, name: str, repetition: int) -> None:
    image = whole(size, permutation_keys(seed, name, repetition))
    assert np.array_equal(np.sort(image), np.arange(size))


@settings(deadline=None)
@given(st.integers(1, MAX_SIZE) | st.integers(1, 600), st.integers(0, 2**63 - 1), st.data())
def test_the_way_back(size: int, seed: int, data: st.DataObject) -> None:
    keys = permutation_keys(seed, "web", "3.1")
    indices = np.array(data.draw(st.lists(st.integers(0, size - 1), max_size=20)), np.int64)
    assert np.array_equal(unpermute(permute(indices, size, keys), size, keys), indices)
    assert np.array_equal(permute(unpermute(indices, size, keys), size, keys), indices)


@pytest.mark.parametrize("size", [2**31, 2**40 + 1, 2**61 + 3, MAX_SIZE])
def test_huge_sizes_stay_inside_and_differ(size: int) -> None:
    indices = np.concatenate([np.arange(2_000), np.arange(size - 2_000, size)])
    image = permute(indices, size, permutation_keys(0, "web", 0))
    assert image.min() >= 0 and image.max() < size
    assert np.unique(image).size == indices.size


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_all_orders_of_a_few_elements_are_about_equally_frequent(size: int) -> None:
    trials = 400 * math.factorial(size)
    counts = dict.fromkeys(permutations(range(size)), 0)
    for repetition in range(trials):
        counts[tuple(whole(size, permutation_keys(1, "x", repetition)).tolist())] += 1
    # Chi-square: mean = degrees of freedom, standard deviation √(2 · degrees). Keys are fixed, so no flakes.
    statistic = sum((count - 400) ** 2 / 400 for count in counts.values())
    degrees = len(counts) - 1
    assert statistic < degrees + 5 * math.sqrt(2 * degrees)


@pytest.mark.parametrize("size", [1_000, 65_536, 99_991])
def test_an_order_looks_random(size: int) -> None:
    image = whole(size, permutation_keys(0, "web", 0)).astype(np.float64)
    other = whole(size, permutation_keys(0, "web", 1)).astype(np.float64)
    bound = 5 / math.sqrt(size)
    assert abs(np.corrcoef(np.arange(size), image)[0, 1]) < bound
    assert abs(np.corrcoef(image[:-1], image[1:])[0, 1]) < bound
    assert abs(np.corrcoef(image, other)[0, 1]) < bound
    assert np.count_nonzero(image == np.arange(size)) < 10  # on average 1
    assert np.count_nonzero(np.abs(np.diff(image)) == 1) < 15  # on average 2


def test_keys_depend_on_all_they_are_made_from() -> None:
    made = [(0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1), (0, "1 a", 0), (0, "a", 10), (0, "0 a", 1)]
    assert len({permutation_keys(*one).tobytes() for one in made}) == len(made)


def test_order_stays_the_same_between_versions() -> None:
    assert whole(10, permutation_keys(42, "web", 3)).tolist() == [3, 8, 6, 0, 9, 1, 2, 7, 5, 4]


@pytest.mark.parametrize("size", [9, 17, 40])
def test_the_first_two_of_many_orders_are_any_two(size: int) -> None:
    trials = 100 * size * (size - 1)
    pairs = np.array(
        [permute(np.arange(2), size, permutation_keys(2, "x", repetition)) for repetition in range(trials)]
    )
    counts = np.bincount(pairs[:, 0] * size + pairs[:, 1], minlength=size * size).reshape(size, size)
    assert np.all(np.diagonal(counts) == 0)
    statistic = ((counts - 100) ** 2 / 100).sum() - 100 * size
    degrees = size * (size - 1) - 1
    assert statistic < degrees + 5 * math.sqrt(2 * degrees)


def test_impossible_arguments() -> None:
    keys = permutation_keys(0, "web", 0)
    for indices in ([-1], [5], [0, 7]):
        for function in (permute, unpermute):
            with pytest.raises(IndexError, match="of 5 elements"):
                function(np.array(indices), 5, keys)
    for size in (-1, MAX_SIZE + 1):
        with pytest.raises(ValueError, match="a permutation of"):
            permute(np.array([], np.int64), size, keys)
