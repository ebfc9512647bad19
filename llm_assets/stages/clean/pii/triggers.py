"""The triggers of `scan`: classes of single bytes, and the literals with which secrets begin.

Guarantees that the tables serve any set of kinds: what is not wanted has no sign. How the text is searched with them
does not belong here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from llm_assets.stages.clean.pii.typography import ascii_equivalents, reading_table

_Bytes = npt.NDArray[np.uint8]
_Integers = npt.NDArray[np.int64]

# Candidates with a number of their own; literals follow, numbered from FIRST_LITERAL.
EMAIL: Final = 0
IPV4: Final = 1
IPV6: Final = 2
CARD: Final = 3
SSN: Final = 4
IBAN: Final = 5
INTERNATIONAL: Final = 6
NORTH_AMERICAN: Final = 7
NATIONAL: Final = 8
FIRST_LITERAL: Final = 9

# What a byte may be the first sign of.
AT_SIGN: Final = 1
NUMBER: Final = 2
COLON: Final = 4
LITERAL: Final = 8

NO_LITERAL: Final = -1


class Triggers(NamedTuple):
    """The triggers of a search, in a named tuple that a kernel can take.

    `signs` (uint8[256]) are flags of each byte, `table` is `reading_table`. `label_ends` (bool[65536]) tells whether
    a word that labels a telephone number may end with the bytes a and b, at 256 * a + b. Literal l is
    `data[starts[l]:starts[l + 1]]`. It is looked for by a pair of its bytes, a and b, the latter at `anchors[l]`: the
    literals that share a pair are `first[256 * a + b]` (int64[65536]), then `following[l]` of each, up to -1. Where
    one stands, candidate `codes[l]` begins.
    """

    signs: _Bytes
    table: _Bytes
    label_ends: npt.NDArray[np.bool_]
    wanted: npt.NDArray[np.bool_]
    data: _Bytes
    starts: _Integers
    anchors: _Integers
    codes: _Integers
    first: _Integers
    following: _Integers

    @classmethod
    def of(cls, wanted: Sequence[int], literals: Sequence[tuple[bytes, int]], labels: Iterable[bytes]) -> Self:
        """For these candidates below FIRST_LITERAL, and literals (two bytes or longer) with their candidates.

        `labels` are the words, in lower case, one of which stands before every NATIONAL that is one group of digits.
        """
        flags = np.zeros(FIRST_LITERAL, np.bool_)
        flags[list(wanted)] = True
        signs = _signs(flags)
        first = np.full(1 << 16, NO_LITERAL, np.int64)
        following = np.full(len(literals), NO_LITERAL, np.int64)
        anchors = np.array([_rarest(literal) for literal, _ in literals], np.int64)
        for number, (literal, _) in enumerate(literals):
            anchor = anchors[number]
            pair = literal[anchor - 1] << 8 | literal[anchor]
            following[number], first[pair] = first[pair], number
            signs[literal[anchor]] |= LITERAL
        return cls(
            signs=signs,
            table=reading_table(),
            label_ends=_label_ends(labels),
            wanted=flags,
            data=np.frombuffer(b"".join(literal for literal, _ in literals), np.uint8),
            starts=np.cumsum([0, *(len(literal) for literal, _ in literals)], dtype=np.int64),
            anchors=anchors,
            codes=np.array([code for _, code in literals], np.int64),
            first=first,
            following=following,
        )


def _label_ends(labels: Iterable[bytes]) -> npt.NDArray[np.bool_]:
    ends = np.zeros(1 << 16, np.bool_)
    ends[[label[-2] << 8 | label[-1] for label in labels]] = True
    return ends


_COMMON_FIRST = b" etaoinsrhldcumfpgwybvk.,-/0123456789"


def _rarest(literal: bytes) -> int:
    """Index of the byte, not the first, that is the least common in text: the fewer signs, the faster."""
    return max(
        range(1, len(literal)), key=lambda index: (_COMMON_FIRST + literal[index : index + 1]).index(literal[index])
    )


def _signs(wanted: npt.NDArray[np.bool_]) -> _Bytes:
    signs = np.zeros(256, np.uint8)
    numbers = [character for character, read_as in ascii_equivalents().items() if read_as in "+0123456789"]
    for flag, characters, codes in (
        (AT_SIGN, "@", [EMAIL]),
        (COLON, ":", [IPV6]),
        (NUMBER, ["+", *numbers], [INTERNATIONAL]),
        (NUMBER, [*"0123456789", *numbers], [IPV4, CARD, SSN, IBAN, NORTH_AMERICAN, NATIONAL]),
    ):
        if wanted[codes].any():
            signs[[character.encode()[0] for character in characters]] |= flag
    return signs
