"""Hashes and comparisons of stretches of bytes, eight at a time, for the kernels that look for what is repeated.

Guarantees that a hash depends on the bytes of the stretch alone, and that no byte outside the array is read. Equal
hashes prove nothing: whoever needs certainty asks `same_bytes` too.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from llm_assets.kernels.kernel import kernel

_Bytes = npt.NDArray[np.uint8]

# Odd constants with bits in no pattern: 2**64 divided by the golden ratio, and the multiplier of splitmix64.
_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX: Final = np.uint64(0xBF58476D1CE4E5B9)
_HALF: Final = np.uint64(32)
_ALL: Final = np.uint64(0xFFFFFFFFFFFFFFFF)


def _load_typed(_context: Any, data: Any, position: Any) -> Any:
    """The eight bytes from `position` on as uint64, at any alignment. No bound is checked."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.IntType(64).as_pointer())
        return builder.load(address, align=1)

    return types.uint64(data, types.intp), generate


_load: Any = intrinsic(_load_typed)


@kernel(inline="always")
def word_at(data: _Bytes, position: int, size: int) -> np.uint64:
    """The first `size` (1 to 8) bytes from `position` on, the others 0."""
    if position + 8 <= len(data):
        return _load(data, position) & (_ALL >> np.uint64(64 - 8 * size))
    word = np.uint64(0)
    for byte in range(size):
        word |= np.uint64(data[position + byte]) << np.uint64(8 * byte)
    return word


@kernel(inline="always")
def hash_bytes(data: _Bytes, start: int, size: int) -> np.uint64:
    """Hash of `data[start:start + size]`. Of stretches of one size up to 8, different ones never have the same."""
    state = np.uint64(size) * _STEP
    while size > 8:
        state = (state ^ _load(data, start)) * _MIX
        state ^= state >> _HALF
        start += 8
        size -= 8
    if size > 0:
        state = (state ^ word_at(data, start, size)) * _MIX
    return mix(state)


@kernel(inline="always")
def mix(value: np.uint64) -> np.uint64:
    """A one-to-one scrambling, after which the low bits depend on all."""
    value = (value ^ (value >> _HALF)) * _STEP
    return value ^ (value >> _HALF)


@kernel
def same_bytes(data: _Bytes, left: int, right: int, size: int) -> bool:
    """Whether the `size` bytes from `left` on equal those from `right` on."""
    while size > 8:
        if _load(data, left) != _load(data, right):
            return False
        left += 8
        right += 8
        size -= 8
    return size <= 0 or word_at(data, left, size) == word_at(data, right, size)
