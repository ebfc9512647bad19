"""UTF-8 read and walked by kernels.

Guarantees the code points of valid UTF-8. In other bytes it finds something at every position, never beyond the end,
and no number that is not a code point.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from llm_assets.kernels.kernel import kernel

_LAST_CODE_POINT: Final = 0x10FFFF
_ZERO, _NINE = 0x30, 0x39

_Bytes = npt.NDArray[np.uint8]
_Number = int | np.integer[Any]


@kernel(counted=False)
def decode(text: _Bytes, position: int, end: int) -> tuple[_Number, int]:
    """The code point at `position` of `text[:end]` and its size in bytes. A byte that starts none stands alone.

    For texts that are mostly ASCII ask for a byte below 0x80 first: the call is dear.
    """
    lead = np.int64(text[position])
    if lead < 0xC0:
        return lead, 1
    if lead < 0xE0 and position + 2 <= end:
        return (lead & 0x1F) << 6 | _tail(text, position + 1), 2
    if 0xE0 <= lead < 0xF0 and position + 3 <= end:
        return (lead & 0x0F) << 12 | _tail(text, position + 1) << 6 | _tail(text, position + 2), 3
    if lead >= 0xF0 and position + 4 <= end:
        code = (lead & 0x07) << 18 | _tail(text, position + 1) << 12
        code |= _tail(text, position + 2) << 6 | _tail(text, position + 3)
        return min(code, np.int64(_LAST_CODE_POINT)), 4
    return lead, 1


@kernel(counted=False)
def _tail(text: _Bytes, position: int) -> np.int64:
    return np.int64(text[position]) & 0x3F


@kernel(counted=False)
def code_at(text: _Bytes, position: int, end: int) -> _Number:
    """The code point at `position` of `text[:end]`."""
    code = np.int64(text[position])
    return code if code < 0x80 else np.int64(decode(text, position, end)[0])


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
