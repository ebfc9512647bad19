"""A keyed pseudo-random permutation of 0 … size - 1 that is computed element by element, without memory.

Guarantees a bijection for every size and key, the same on every machine. Statistical quality, no secrecy.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_assets.kernels.kernel import kernel

ROUNDS = 8
MAX_SIZE = 2**62
MIN_BITS = 8


def permutation_keys(seed: int, name: str, use: int | str) -> NDArray[np.uint64]:
    """Keys of the rounds, uint64 [ROUNDS]: BLAKE2b of all three arguments, so each change gives other keys.

    `use` is what the permutation is for, a word without blanks: the number of a repetition, say.
    """
    text = f"{seed} {use} {name}".encode()
    digest = hashlib.blake2b(text, digest_size=8 * ROUNDS, person=b"llm_assets.mix").digest()
    return np.frombuffer(digest, "<u8").astype(np.uint64)


def permute(indices: NDArray[np.int64], size: int, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Images (int64 [n]) of some indices (int64 [n]) under the permutation of 0 … size - 1 that `keys` chooses.

    Raises IndexError for an index outside 0 … size - 1, ValueError for a size beyond 2**62.
    """
    return _permute(_checked(indices, size), size, keys)


def unpermute(images: NDArray[np.int64], size: int, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The inverse: indices (int64 [n]) whose images under `permute` are the given ones. Raises what it raises."""
    return _unpermute(_checked(images, size), size, keys)


def _checked(indices: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    if not 0 <= size <= MAX_SIZE:
        raise ValueError(f"a permutation of {size} elements; 0 to 2**62 are possible")
    if indices.size and (indices.min() < 0 or indices.max() >= size):
        raise IndexError(f"indices {indices.min()} to {indices.max()} in a permutation of {size} elements")
    return np.ascontiguousarray(indices, np.int64)


@kernel
def _permute(indices: Any, size: Any, keys: Any) -> Any:
    images = np.empty_like(indices)
    bits = network_bits(size)
    for position in range(indices.size):
        images[position] = permuted(indices[position], size, bits, keys)
    return images


@kernel
def _unpermute(images: Any, size: Any, keys: Any) -> Any:
    indices = np.empty_like(images)
    bits = network_bits(size)
    for position in range(images.size):
        indices[position] = unpermuted(images[position], size, bits, keys)
    return indices


@kernel
def network_bits(size: Any) -> Any:
    """Bits of the network for so many elements: enough for size - 1, and `MIN_BITS` at least.

    With fewer, some orders of few elements are visibly more frequent than others: measured over all orders of
    2 to 7 elements, chi-square is out of bounds up to 5 bits, in doubt with 6, and in order with 8.
    """
    bits = MIN_BITS
    while bits < 62 and (size - 1) >> bits > 0:
        bits += 1
    return bits


@kernel
def permuted(index: Any, size: Any, bits: Any, keys: Any) -> Any:
    """The image of one index; `bits` is `network_bits(size)`. Unchecked: for kernels.

    A Feistel network permutes 0 … 2**bits - 1, its halves differing by a bit where `bits` is odd; whatever
    lands outside is sent round again until it lands inside (cycle walking: Black and Rogaway 2002). That takes
    2**bits / size turns on average: fewer than two, except for a few elements.
    """
    low_bits = np.uint64(bits // 2)
    low_mask = (np.uint64(1) << low_bits) - np.uint64(1)
    high_mask = (np.uint64(1) << np.uint64(bits - bits // 2)) - np.uint64(1)
    low = np.uint64(index) & low_mask
    high = np.uint64(index) >> low_bits
    while True:
        for step in range(0, ROUNDS, 2):
            high ^= _mixed(low, keys[step]) & high_mask
            low ^= _mixed(high, keys[step + 1]) & low_mask
        image = np.int64((high << low_bits) | low)
        if image < size:
            return image


@kernel
def unpermuted(image: Any, size: Any, bits: Any, keys: Any) -> Any:
    """The index of one image: the network of `permuted` and its walk, backwards. Unchecked: for kernels."""
    low_bits = np.uint64(bits // 2)
    low_mask = (np.uint64(1) << low_bits) - np.uint64(1)
    high_mask = (np.uint64(1) << np.uint64(bits - bits // 2)) - np.uint64(1)
    low = np.uint64(image) & low_mask
    high = np.uint64(image) >> low_bits
    while True:
        for step in range(ROUNDS - 2, -1, -2):
            low ^= _mixed(high, keys[step + 1]) & low_mask
            high ^= _mixed(low, keys[step]) & high_mask
        index = np.int64((high << low_bits) | low)
        if index < size:
            return index


@kernel
def _mixed(value: Any, key: Any) -> Any:
    """32 well-mixed bits: one multiplication of the kind SplitMix64 uses (Steele, Lea and Flood 2014)."""
    word = (value + key) * np.uint64(0xBF58476D1CE4E5B9)
    word ^= word >> np.uint64(29)
    word *= np.uint64(0x94D049BB133111EB)
    return word >> np.uint64(32)
