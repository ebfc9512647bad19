"""UTF-8 as the kernels of cleaning read it where speed does not call for more."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from llm_assets.kernels.kernel import kernel

_LAST_CODE_POINT: Final = 0x10FFFF
_ZERO, _NINE = 0x30, 0x39

_Bytes = npt.NDArray[np.uint8]
_Number = int | np.integer[Any]


@kernel
def decode(text: npt.NDArray[np.uint8], position: int) -> tuple[int, int]:
    """The code point at `position` and its size in bytes. A byte that starts none before the end stands alone."""
    lead = int(text[position])
    if lead < 0xC0:
        return lead, 1
    size = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    if position + size > len(text):
        return lead, 1
    code = lead & (0x7F >> size)
    for following in range(position + 1, position + size):
        code = code << 6 | (int(text[following]) & 0x3F)
    return min(code, _LAST_CODE_POINT), size


@kernel(counted=False)
def decode_within(text: _Bytes, position: int, end: int) -> tuple[_Number, int]:
    """`decode` of `text[:end]`."""
    lead = np.int64(text[position])
    size = 1 if lead < 0xC0 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    if size == 1 or position + size > end:
        return lead, 1
    code = lead & (0x7F >> size)
    for following in range(position + 1, position + size):
        code = code << 6 | (np.int64(text[following]) & 0x3F)
    return min(code, np.int64(_LAST_CODE_POINT)), size


@kernel(counted=False)
def code_at(text: _Bytes, position: int, end: int) -> _Number:
    """The code point at `position` of `text[:end]`."""
    code = np.int64(text[position])
    return code if code < 0x80 else np.int64(decode_within(text, position, end)[0])


@kernel(counted=False)
def start_before(text: _Bytes, first: int, position: int) -> int:
    """Where the character before `position` starts, which is at `first` or behind it."""
    start = position - 1
    while start > first and text[start] & 0xC0 == 0x80:
        start -= 1
    return start


@kernel(counted=False)
def is_digit(code: _Number) -> bool:
    """Whether a code point or byte is an ASCII digit."""
    return bool(_ZERO <= code <= _NINE)
