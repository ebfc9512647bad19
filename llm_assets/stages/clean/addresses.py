"""The kernel that tells a URL, a host or an e-mail address, so that words are not cut within one.

Guarantees time in proportion to the bytes, but for many `@`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llm_assets.kernels.kernel import kernel
from llm_assets.kernels.utf8 import decode, is_digit

_ZERO = 0x30
_STOP, _SLASH, _COLON, _HASH, _QUESTION, _AT, _PLUS, _MINUS = 0x2E, 0x2F, 0x3A, 0x23, 0x3F, 0x40, 0x2B, 0x2D
_LOW_LINE, _BIG_A, _OTHER_CASE = 0x5F, 0x41, 0x20
_FIRST_OF_FOUR_BYTES = 0xF0

_Bytes = npt.NDArray[np.uint8]


@kernel(counted=False)
def is_address(text: _Bytes, left: int, right: int, marks: _Bytes, small: int) -> bool:
    """Whether `text[left:right]` is `[scheme://][user@]host[:port][/?#...]`, the host being a name with a dot or a
    public IP address.

    `marks` is a table of flags by code point, of which `small` is that of small letters.
    """
    start = left
    while start < right and (_is_in_name(text[start]) or text[start] in (_STOP, _PLUS, _MINUS)):
        start += 1
    schemed = (
        left < start
        and right - start > 3
        and text[start] == _COLON
        and text[start + 1] == _SLASH
        and text[start + 2] == _SLASH
    )
    if _is_host(text, start + 3 if schemed else left, right, marks, small):
        return True
    for position in range(left + 1, right - 1):
        if text[position] == _AT and _is_host(text, position + 1, right, marks, small):
            return True
    return False


@kernel(counted=False)
def _is_in_name(byte: int) -> bool:
    letter = _BIG_A <= (byte & ~_OTHER_CASE) < _BIG_A + 26
    return letter or is_digit(byte) or byte == _LOW_LINE


@kernel(counted=False)
def _is_host(text: _Bytes, start: int, right: int, marks: _Bytes, small: int) -> bool:
    """Whether a host begins here, with its port and what may come behind; a name ends in two or more small letters."""
    label = position = start
    labels = 0
    while position < right:
        byte = text[position]
        if byte == _STOP:
            if not _is_label(text, label, position):
                return False
            labels += 1
            label = position + 1
        elif not (_is_in_name(byte) or byte == _MINUS or 0x80 <= byte < _FIRST_OF_FOUR_BYTES):
            break
        position += 1
    if not labels or not (
        _is_top_label(text, label, position, marks, small) or (labels == 3 and _is_public(text, start, position))
    ):
        return False
    if position < right and text[position] == _COLON:
        port = position + 1
        position = port
        while position < right and is_digit(text[position]):
            position += 1
        if not 2 <= position - port <= 5:
            return False
    return position == right or text[position] in (_SLASH, _QUESTION, _HASH)


@kernel(counted=False)
def _is_label(text: _Bytes, start: int, end: int) -> bool:
    if start == end:
        return False
    first, last = text[start], text[end - 1]
    return first not in (_MINUS, _LOW_LINE) and last not in (_MINUS, _LOW_LINE)


@kernel(counted=False)
def _is_top_label(text: _Bytes, start: int, end: int, marks: _Bytes, small: int) -> bool:
    letters = 0
    while start < end:
        code, size = decode(text, start, end)
        if not marks[code] & small:
            return False
        letters += 1
        start += size
    return letters >= 2


@kernel(counted=False)
def _is_public(text: _Bytes, start: int, end: int) -> bool:
    """Whether four numbers between full stops are an IPv4 address that is neither private nor of a network."""
    a = b = c = last = digits = 0
    for position in range(start, end):
        if text[position] == _STOP:
            a, b, c, last, digits = b, c, last, 0, 0
        elif is_digit(text[position]) and digits < 3:
            last = last * 10 + text[position] - _ZERO
            digits += 1
        else:
            return False
    private = a in (10, 127) or (a == 169 and b == 254) or (a == 192 and b == 168) or (a == 172 and 16 <= b < 32)
    return not private and 1 <= a <= 223 and 1 <= last <= 254 and max(b, c) <= 255
