"""Networks of all shapes are bijections, backwards too, and the same for Python and as kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.kernels.feistel import FACTOR, SECOND_FACTOR, Network, bits_for, permuted, unpermuted
from llm_assets.kernels.kernel import kernel

compiled: Any = kernel(permuted)
compiled_back: Any = kernel(unpermuted)

_keys = st.integers(1, 4).flatmap(
    lambda pairs: st.lists(st.integers(0, 2**64 - 1), min_size=2 * pairs, max_size=2 * pairs)
)


@st.composite
def _networks(draw: st.DrawFn, most: int) -> Network:
    size = draw(st.integers(1, most))
    bits = bits_for(size)
    low = draw(st.integers(max(1, bits - 32), min(bits - 1, 32)))  # a round mixes 32 bits
    high = draw(st.integers(bits - low, min(bits - low + 2, 32)))
    factor = draw(st.sampled_from([FACTOR, SECOND_FACTOR]))
    return Network(size, low, (1 << low) - 1, (1 << high) - 1, factor)


@given(_networks(600), _keys)
def test_every_element_comes_once(network: Network, keys: list[int]) -> None:
    images = [permuted(index, network, keys) for index in range(network.size)]
    assert sorted(images) == list(range(network.size))
    assert [unpermuted(image, network, keys) for image in images] == list(range(network.size))


@given(_networks(2**40), _keys, st.data())
def test_kernels_agree_with_python(network: Network, keys: list[int], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, network.size - 1))
    numbers, words = tuple(map(np.uint64, network)), np.array(keys, np.uint64)
    image = permuted(index, network, keys)
    assert compiled(np.uint64(index), numbers, words) == image
    assert compiled_back(np.uint64(image), numbers, words) == index


@pytest.mark.parametrize(
    ("size", "bits"),
    [(0, 8), (1, 8), (2, 8), (256, 8), (257, 9), (512, 9), (513, 10), (2**61 + 1, 62), (2**62, 62)],
)
def test_the_smallest_network_has_room_and_eight_bits(size: int, bits: int) -> None:
    network = Network.of(size)
    assert (network.low_mask + 1) * (network.high_mask + 1) == 2**bits >= size
    assert network.low_mask == 2**network.low_bits - 1
    assert network.low_mask <= network.high_mask <= 2 * network.low_mask + 1
