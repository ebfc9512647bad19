"""One byte of flags per code point, so that a kernel asks `str.isspace` and its like by one look-up.

Guarantees to agree with the running Python: the table is made from its `str` methods and its `unicodedata`,
whose version is `UNICODE_VERSION` and belongs in the version of whatever is computed from the table.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from llm_assets.stages.clean.count import ALPHABETIC, DIGIT, LINE_BREAK, SPACE, SYMBOL, UPPER

UNICODE_VERSION: Final = unicodedata.unidata_version

CODE_POINTS: Final = 0x110000

_LINE_BREAKS: Final = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"


def is_symbol(character: str) -> bool:
    """Whether it is punctuation (category P*), a control character (Cc) or one of ASCII's symbols (S*)."""
    category = unicodedata.category(character)
    return category[0] == "P" or category == "Cc" or (category[0] == "S" and character.isascii())


@cache
def class_table() -> npt.NDArray[np.uint8]:
    """Flags of every code point: uint8[0x110000], read-only. Made at the first call, in under a second.

    SPACE is `str.isspace` (what `str.split()` splits at), LINE_BREAK what `str.splitlines()` splits at,
    ALPHABETIC `str.isalpha`, UPPER `str.isupper`, DIGIT `str.isdigit`, SYMBOL `is_symbol`.
    """
    characters = "".join(map(chr, range(CODE_POINTS)))

    def flagged(predicate: Callable[[str], bool], flag: int) -> npt.NDArray[np.uint8]:
        return np.fromiter(map(predicate, characters), np.bool_, CODE_POINTS) * np.uint8(flag)

    table = flagged(str.isspace, SPACE)
    table |= flagged(str.isalpha, ALPHABETIC)
    table |= flagged(str.isupper, UPPER)
    table |= flagged(str.isdigit, DIGIT)
    table |= flagged(is_symbol, SYMBOL)
    table[[ord(character) for character in _LINE_BREAKS]] |= LINE_BREAK
    table.flags.writeable = False
    return table
