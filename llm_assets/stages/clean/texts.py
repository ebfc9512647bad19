"""The bytes of a text column as the kernels of cleaning take them."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from llm_assets.kernels.arrow import string_buffers

_Number = TypeVar("_Number", bound=np.generic)


def text_buffers(texts: pa.LargeStringArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Offsets int64[documents + 1] and data uint8, read-only: document i is `data[offsets[i]:offsets[i + 1]]`.

    Not copied; a sliced column will do. Raises TypeError for another type, ValueError where a text is null.
    """
    if not pa.types.is_large_string(texts.type):
        raise TypeError(f"texts must be large_string, not {texts.type}")
    if texts.null_count:
        raise ValueError(f"{texts.null_count} of {len(texts)} texts are null")
    offsets, data = string_buffers(texts)
    return _frozen(offsets), _frozen(data)


def texts_from(offsets: npt.NDArray[np.int64], data: npt.NDArray[np.uint8]) -> pa.LargeStringArray:
    """The column of these buffers, which are not copied: the opposite of `text_buffers`. The bytes are valid UTF-8."""
    return pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(data))


def _frozen(array: npt.NDArray[_Number]) -> npt.NDArray[_Number]:
    # Most Arrow buffers are read-only, not all; and numba compiles a kernel anew for the others.
    view = array.view()
    view.flags.writeable = False
    return view
