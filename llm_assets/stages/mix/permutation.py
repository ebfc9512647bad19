"""A keyed pseudo-random permutation of 0 … size - 1 that is computed element by element, without memory.

Guarantees a bijection for every size and key, the same on every machine. Statistical quality, no secrecy.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_assets.kernels.feistel import Network, permuted, unpermuted
from llm_assets.kernels.kernel import kernel

ROUNDS = 8
MAX_SIZE = 2**62

# As kernels, both take numbers of 64 bits without a sign.
_permuted: Any = kernel(permuted)
_unpermuted: Any = kernel(unpermuted)


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
    return _permute(_checked(indices, size), _network(size), keys)


def unpermute(images: NDArray[np.int64], size: int, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The inverse: indices (int64 [n]) whose images under `permute` are the given ones. Raises what it raises."""
    return _unpermute(_checked(images, size), _network(size), keys)


def _checked(indices: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    if not 0 <= size <= MAX_SIZE:
        raise ValueError(f"a permutation of {size} elements; 0 to 2**62 are possible")
    if indices.size and (indices.min() < 0 or indices.max() >= size):
        raise IndexError(f"indices {indices.min()} to {indices.max()} in a permutation of {size} elements")
    return np.ascontiguousarray(indices, np.int64)


def _network(size: int) -> tuple[np.uint64, ...]:
    return tuple(map(np.uint64, Network.of(size)))


@kernel
def _permute(indices: Any, network: Any, keys: Any) -> Any:
    images = np.empty_like(indices)
    for position in range(indices.size):
        images[position] = _permuted(np.uint64(indices[position]), network, keys)
    return images


@kernel
def _unpermute(images: Any, network: Any, keys: Any) -> Any:
    indices = np.empty_like(images)
    for position in range(images.size):
        indices[position] = _unpermuted(np.uint64(images[position]), network, keys)
    return indices
