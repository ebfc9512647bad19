"""Which characters make a word, and what each is casefolded to, for the kernels that look for entries in text.

Guarantees `str.casefold` (Unicode's full case folding, without regard to language), and that folding keeps the
class of a character. `units` cuts an entry as the kernels cut a text.

A text is a sequence of units: a run of word characters is one, a run of white space is one, any other character is
one by itself. Word characters are letters, digits, marks, "_" and the joiners U+200C and U+200D, save those of
scripts that put no space between words (Han, kana, Thai, Lao, Khmer, Myanmar), which are units by themselves.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

CODE_POINTS: Final = 0x110000

# Flags of a code point.
WORD: Final = 1
SPACE: Final = 2
FOLDS: Final = 4

_JOINERS: Final = "_\u200c\u200d"
_UNSPACED: Final = (
    *["CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA"],
    *["THAI ", "LAO ", "KHMER ", "MYANMAR "],
)


class Folding(NamedTuple):
    """Flags of every code point (uint8[0x110000]); what one that FOLDS becomes is UTF-8 in `data`.

    It is `data[starts[indices[code]]:starts[indices[code] + 1]]`; `indices` is uint16[0x110000], `starts` int64.
    """

    flags: npt.NDArray[np.uint8]
    indices: npt.NDArray[np.uint16]
    starts: npt.NDArray[np.int64]
    data: npt.NDArray[np.uint8]


def is_letter(character: str) -> bool:
    """Whether the character is a letter, a digit, a mark, "_" or a joiner, of any script."""
    return character.isalnum() or unicodedata.category(character)[0] == "M" or character in _JOINERS


def is_word_character(character: str) -> bool:
    """Whether the character joins with its like into one word."""
    return is_letter(character) and not unicodedata.name(character, "").startswith(_UNSPACED)


def units(folded: str) -> Iterator[str]:
    """The units of a casefolded text, white space of any kind and length as one space."""
    for kind, run in groupby(folded, _kind):
        if kind == SPACE:
            yield " "
        elif kind == WORD:
            yield "".join(run)
        else:
            yield from run


@cache
def _kind(character: str) -> int:
    return SPACE if character.isspace() else WORD if is_word_character(character) else 0


@cache
def folding() -> Folding:
    """The tables, read-only, of the running Python's Unicode version. Made at the first call, in under a second."""
    characters = "".join(map(chr, range(CODE_POINTS)))
    flags = np.fromiter(map(is_word_character, characters), np.bool_, CODE_POINTS) * np.uint8(WORD)
    flags |= np.fromiter(map(str.isspace, characters), np.bool_, CODE_POINTS) * np.uint8(SPACE)
    folded = [code for code, character in enumerate(characters) if character.casefold() != character]
    flags[folded] |= FOLDS
    indices = np.zeros(CODE_POINTS, np.uint16)
    indices[folded] = np.arange(len(folded))
    encoded = [characters[code].casefold().encode() for code in folded]
    tables = Folding(
        flags, indices, np.cumsum([0, *map(len, encoded)], dtype=np.int64), np.frombuffer(b"".join(encoded), np.uint8)
    )
    for table in tables:
        table.flags.writeable = False
    return tables
