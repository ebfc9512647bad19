"""UTF-8 as the kernels of cleaning read it where speed does not call for more.

numba's cache does not notice a change of this file in the kernels that use it: they need touching as well.
"""

from __future__ import annotations

from typing import Final

import numba
import numpy as np
import numpy.typing as npt

_LAST_CODE_POINT: Final = 0x10FFFF


@numba.njit(nogil=True, cache=True)
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
