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

# Flags of a code point in the class table.
SPACE: Final = 1
LINE_BREAK: Final = 2
ALPHABETIC: Final = 4
UPPER: Final = 8
DIGIT: Final = 16
SYMBOL: Final = 32
TERMINAL: Final = 64
CLOSING: Final = 128

UNICODE_VERSION: Final = unicodedata.unidata_version

CODE_POINTS: Final = 0x110000

LINE_BREAKS: Final = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
"""Characters at which `str.splitlines` splits, except "\r\n"."""

# Unicode's property Sentence_Terminal, which `unicodedata` lacks: its code points in ranges, as of the version
# from which FineWeb's rules took their marks.
_TERMINAL_RANGES: Final = """
    21 2E 3F 589 61D-61F 6D4 700-702 7F9 837 839 83D-83E 964-965 104A-104B 1362 1367-1368 166E 1735-1736 17D4-17D6
    17D9-17DA 1803 1809 1944-1945 1AA8-1AAB 1B5A-1B5B 1B5E-1B5F 1B7D-1B7E 1C3B-1C3C 1C7E-1C7F 203C-203D 2047-2049
    2E2E 2E3C 2E53-2E54 3002 A4FF A60E-A60F A6F3 A6F7 A876-A877 A8CE-A8CF A92F A9C8-A9C9 AA5D-AA5F AAF0-AAF1 ABEB
    FE52 FE56-FE57 FF01 FF0E FF1F FF61 10A56-10A57 10F55-10F59 10F86-10F89 11047-11048 110BE-110C1 11141-11143
    111C5-111C6 111CD 111DE-111DF 11238-11239 1123B-1123C 112A9 1144B-1144C 115C2-115C3 115C9-115D7 11641-11642
    1173C-1173E 11944 11946 11A42-11A43 11A9B-11A9C 11C41-11C42 11EF7-11EF8 11F43-11F44 16A6E-16A6F 16AF5
    16B37-16B38 16B44 16E98 1BC9F 1DA88
"""
_TERMINAL_MARKS: Final = frozenset(
    chr(code)
    for first, _, last in (each.partition("-") for each in _TERMINAL_RANGES.split())
    for code in range(int(first, 16), int(last or first, 16) + 1)
)


def is_terminal(character: str) -> bool:
    """Whether it ends a sentence: "." "!" "?" "。" and their like in all scripts (but not "…")."""
    return character in _TERMINAL_MARKS


def is_closing(character: str) -> bool:
    """Whether it may stand between the mark that ends a sentence and the space: a quotation mark or a bracket."""
    return character in ("'", '"') or unicodedata.category(character) in ("Pe", "Pf")


def is_symbol(character: str) -> bool:
    """Whether it is punctuation (category P*), a control character (Cc) or one of ASCII's symbols (S*)."""
    category = unicodedata.category(character)
    return category[0] == "P" or category == "Cc" or (category[0] == "S" and character.isascii())


@cache
def class_table() -> npt.NDArray[np.uint8]:
    """Flags of every code point: uint8[0x110000], read-only. Made at the first call, in under a second.

    SPACE is `str.isspace` (what `str.split()` splits at), LINE_BREAK what `str.splitlines()` splits at,
    ALPHABETIC `str.isalpha`, UPPER `str.isupper`, DIGIT `str.isdigit`, SYMBOL `is_symbol`, TERMINAL `is_terminal`,
    CLOSING `is_closing`.
    """
    characters = "".join(map(chr, range(CODE_POINTS)))

    def flagged(predicate: Callable[[str], bool], flag: int) -> npt.NDArray[np.uint8]:
        return np.fromiter(map(predicate, characters), np.bool_, CODE_POINTS) * np.uint8(flag)

    table = flagged(str.isspace, SPACE)
    table |= flagged(str.isalpha, ALPHABETIC)
    table |= flagged(str.isupper, UPPER)
    table |= flagged(str.isdigit, DIGIT)
    table |= flagged(is_symbol, SYMBOL)
    table |= flagged(is_terminal, TERMINAL)
    table |= flagged(is_closing, CLOSING)
    table[[ord(character) for character in LINE_BREAKS]] |= LINE_BREAK
    table.flags.writeable = False
    return table
