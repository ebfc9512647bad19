"""Where in a text a pattern is worth trying: one pass over its bytes that rules out nearly all of them.

Guarantees that no pattern matches at a position left out here (`find` tests it against trying all of them), that
time is proportional to the bytes, and that nothing outside a document is read. What is found there is not decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from llm_assets.kernels.kernel import kernel

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
_AT_SIGN, _DIGIT, _COLON, _PLUS, _LITERAL = 1, 2, 4, 8, 16

_DOT, _MINUS, _UNDERSCORE, _OPEN = 0x2E, 0x2D, 0x5F, 0x28
_COLON_BYTE, _PLUS_BYTE, _QUOTE, _SLASH, _CLOSE, _SPACE = 0x3A, 0x2B, 0x27, 0x2F, 0x29, 0x20
_MAX_GAP, _MAX_DIGITS, _NO_LITERAL = 11, 19, -1
_GROUPS = 5  # whose sizes are kept
_MOST_OF_ONE_BYTE = 8  # candidates, but for literals


class Triggers(NamedTuple):
    """What to look for (a named tuple, which a kernel can take).

    `signs` (uint8[256]) are flags of each byte. Literal l is `data[starts[l]:starts[l + 1]]`. It is looked for by a
    pair of its bytes, a and b, the latter at `anchors[l]`: the literals that share a pair are `first[256 * a + b]`
    (int64[65536]), then `following[l]` of each, up to -1. Where one stands, candidate `codes[l]` begins.
    """

    signs: _Bytes
    wanted: npt.NDArray[np.bool_]
    data: _Bytes
    starts: _Integers
    anchors: _Integers
    codes: _Integers
    first: _Integers
    following: _Integers

    @classmethod
    def of(cls, wanted: Sequence[int], literals: Sequence[tuple[bytes, int]]) -> Self:
        """For these candidates below FIRST_LITERAL, and literals (two bytes or longer) with their candidates."""
        flags = np.zeros(FIRST_LITERAL, np.bool_)
        flags[list(wanted)] = True
        signs = _signs(flags)
        first = np.full(1 << 16, _NO_LITERAL, np.int64)
        following = np.full(len(literals), _NO_LITERAL, np.int64)
        anchors = np.array([_rarest(literal) for literal, _ in literals], np.int64)
        for number, (literal, _) in enumerate(literals):
            anchor = anchors[number]
            pair = literal[anchor - 1] << 8 | literal[anchor]
            following[number], first[pair] = first[pair], number
            signs[literal[anchor]] |= _LITERAL
        return cls(
            signs=signs,
            wanted=flags,
            data=np.frombuffer(b"".join(literal for literal, _ in literals), np.uint8),
            starts=np.cumsum([0, *(len(literal) for literal, _ in literals)], dtype=np.int64),
            anchors=anchors,
            codes=np.array([code for _, code in literals], np.int64),
            first=first,
            following=following,
        )


_COMMON_FIRST = b" etaoinsrhldcumfpgwybvk.,-/0123456789"


def _rarest(literal: bytes) -> int:
    """Index of the byte, not the first, that is the least common in text: the fewer signs, the faster."""
    return max(
        range(1, len(literal)), key=lambda index: (_COMMON_FIRST + literal[index : index + 1]).index(literal[index])
    )


def _signs(wanted: npt.NDArray[np.bool_]) -> _Bytes:
    signs = np.zeros(256, np.uint8)
    for flag, bytes_, codes in (
        (_AT_SIGN, b"@", [EMAIL]),
        (_COLON, b":", [IPV6]),
        (_PLUS, b"+", [INTERNATIONAL]),
        (_DIGIT, b"0123456789", [IPV4, CARD, SSN, IBAN, NORTH_AMERICAN, NATIONAL]),
    ):
        if wanted[codes].any():
            signs[list(bytes_)] |= flag
    return signs


class Candidates(NamedTuple):
    """Range, position in the data and candidate number (see above), int64[n] each, by range."""

    range: _Integers
    position: _Integers
    code: _Integers


@kernel
def scan(data: _Bytes, documents: _Integers, ranges: _Integers, triggers: Triggers) -> Candidates:
    """Candidates whose sign stands in one of the ranges.

    `documents` and `ranges` are int64[n, 2]: range r is `data[ranges[r, 0]:ranges[r, 1]]`, part of the document
    `data[documents[r, 0]:documents[r, 1]]`, all of which may be looked at.
    """
    found = np.empty((1024, 3), np.int64)
    groups = np.zeros(_GROUPS, np.int64)
    size, most = 0, _MOST_OF_ONE_BYTE + len(triggers.codes)
    for number in range(len(ranges)):
        low, high, stop = documents[number, 0], documents[number, 1], ranges[number, 1]
        position = _next_sign(data, triggers.signs, ranges[number, 0], stop)
        while position < stop:
            if size + most > len(found):
                found = _grown(found)
            sign = triggers.signs[data[position]]
            before = size
            if sign & _DIGIT:
                size = _at_digit(data, low, high, position, triggers.wanted, groups, found, size)
            elif sign & _AT_SIGN:
                size = _at_at_sign(data, low, high, position, found, size)
            elif sign & _COLON:
                size = _at_colon(data, low, high, position, found, size)
            elif sign & _PLUS:
                size = _at_plus(data, high, position, groups, found, size)
            if sign & _LITERAL and position > low:
                size = _at_literal(data, low, high, position, triggers, found, size)
            for row in range(before, size):
                found[row, 0] = number
            position = _next_sign(data, triggers.signs, position + 1, stop)
    return Candidates(found[:size, 0].copy(), found[:size, 1].copy(), found[:size, 2].copy())


@kernel
def _next_sign(data: _Bytes, signs: _Bytes, position: int, stop: int) -> int:
    while position < stop and signs[data[position]] == 0:
        position += 1
    return position


@kernel
def _grown(found: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    larger = np.empty((2 * len(found), 3), np.int64)
    for row in range(len(found)):  # assigning a slice would take numba seconds to compile
        for column in range(3):
            larger[row, column] = found[row, column]
    return larger


@kernel
def _add(found: _Integers, size: int, position: int, code: int) -> int:
    found[size, 1], found[size, 2] = position, code
    return size + 1


@kernel
def _is_digit(byte: int) -> bool:
    return 0x30 <= byte <= 0x39


@kernel
def _is_letter(byte: int) -> bool:
    return 0x61 <= (byte | 0x20) <= 0x7A


@kernel
def _is_word(byte: int) -> bool:
    return _is_letter(byte) or _is_digit(byte) or byte == _UNDERSCORE


@kernel
def _is_hex(byte: int) -> bool:
    return _is_digit(byte) or 0x61 <= (byte | 0x20) <= 0x66


@kernel
def _is_gap(byte: int) -> bool:
    """Whether it may stand between the digits of a number: ASCII separators, and the bytes of U+00A0, U+2010 ff."""
    if byte < 0x80:
        return byte in (_SPACE, _MINUS, _DOT, _SLASH, _OPEN, _CLOSE)
    return byte in (0xC2, 0xA0, 0xE2, 0x80, 0xAF) or 0x90 <= byte <= 0x93


@kernel
def _count_digits(data: _Bytes, high: int, position: int, sizes: _Integers) -> int:
    """Digits from here on, gaps between them left out, counted up to 20; `sizes` become those of the first groups."""
    digits = group = 0
    for number in range(len(sizes)):
        sizes[number] = 0
    while True:
        start = position
        while position < high and _is_digit(data[position]) and position - start <= _MAX_DIGITS:
            position += 1
        if position == start:
            return digits
        digits += position - start
        if group < len(sizes):
            sizes[group] = position - start
        group += 1
        if digits > _MAX_DIGITS:
            return digits
        gap = 0
        while position < high and gap < _MAX_GAP and _is_gap(data[position]):
            position += 1
            gap += 1


@kernel
def _at_digit(
    data: _Bytes,
    low: int,
    high: int,
    position: int,
    wanted: npt.NDArray[np.bool_],
    sizes: _Integers,
    found: _Integers,
    size: int,
) -> int:
    """IBANs, dotted addresses, cards, social security and telephone numbers, where a group of digits begins."""
    previous = int(data[position - 1]) if position > low else 0
    if _is_word(previous) or previous == _DOT:
        if wanted[IBAN] and _is_letter(previous) and _is_iban(data, low, high, position):
            size = _add(found, size, position - 2, IBAN)
        return size
    digits = _count_digits(data, high, position, sizes)
    if wanted[IPV4] and sizes[0] <= 3 and digits >= 4 and _is_dotted_quad(data, high, position):
        size = _add(found, size, position, IPV4)
    if digits < 7 or _is_glued(data, low, position):
        return size
    if wanted[CARD] and digits >= 12:
        size = _add(found, size, position, CARD)
    if wanted[SSN] and (sizes[0] == 9 or (sizes[0] == 3 and sizes[1] == 2 and sizes[2] == 4)):
        size = _add(found, size, position, SSN)
    if wanted[NORTH_AMERICAN]:
        first = 1 if sizes[0] == 1 else 0
        if sizes[first] == 3 and sizes[first + 1] == 3 and sizes[first + 2] == 4:
            size = _add_number(previous, position, found, size, NORTH_AMERICAN)
    is_fraction = sizes[0] == 1 and sizes[1] == digits - 1 and data[position + 1] == _DOT
    if wanted[NATIONAL] and sizes[0] <= 15 and not is_fraction and not _continues(data, low, position):
        size = _add_number(previous, position, found, size, NATIONAL)
    return size


@kernel
def _is_glued(data: _Bytes, low: int, position: int) -> bool:
    """Whether a hyphen or a slash joins what stands here to a word."""
    joined = position >= low + 2 and data[position - 1] in (_MINUS, _SLASH)
    return joined and _is_word(data[position - 2])


@kernel
def _is_iban(data: _Bytes, low: int, high: int, position: int) -> bool:
    """Whether two digits stand here, after two letters that begin a word."""
    if position < low + 2 or position + 13 > high or not _is_digit(data[position + 1]):
        return False
    if not (_is_letter(data[position - 1]) and _is_letter(data[position - 2])):
        return False
    return position == low + 2 or not _is_word(data[position - 3])


@kernel
def _add_number(previous: int, position: int, found: _Integers, size: int, code: int) -> int:
    """The number, and also with the parenthesis before it."""
    if previous == _OPEN:
        size = _add(found, size, position - 1, code)
    return _add(found, size, position, code)


@kernel
def _continues(data: _Bytes, low: int, position: int) -> bool:
    """Whether a digit and a space stand before: then this is not where a number begins."""
    return position >= low + 2 and data[position - 1] == _SPACE and _is_digit(data[position - 2])


@kernel
def _is_dotted_quad(data: _Bytes, high: int, position: int) -> bool:
    for octet in range(4):
        if octet > 0:
            if position >= high or data[position] != _DOT:
                return False
            position += 1
        start = position
        while position < high and _is_digit(data[position]) and position - start <= 3:
            position += 1
        if not 1 <= position - start <= 3:
            return False
    return True


@kernel
def _at_at_sign(data: _Bytes, low: int, high: int, position: int, found: _Integers, size: int) -> int:
    """An @ between what a local part can end with and what a domain can begin with."""
    if position == low or position + 4 > high or not (_is_word(data[position + 1]) or data[position + 1] >= 0xC3):
        return size
    last = int(data[position - 1])
    if _is_word(last) or last in (_DOT, _MINUS, _PLUS_BYTE, _QUOTE) or 0x80 <= last < 0xC0:
        return _add(found, size, position, EMAIL)
    return size


@kernel
def _at_colon(data: _Bytes, low: int, high: int, position: int, found: _Integers, size: int) -> int:
    """The first colon of eight groups of hexadecimal digits, or of four digits and groups with "::" among them."""
    start = position
    while start > low and position - start <= 4 and _is_hex(data[start - 1]):
        start -= 1
    size_of_first = position - start
    if not 1 <= size_of_first <= 4 or (start > low and (data[start - 1] == _COLON_BYTE or _is_word(data[start - 1]))):
        return size
    colons, double = 0, False
    while position < high and colons <= 8 and (_is_hex(data[position]) or data[position] == _COLON_BYTE):
        if data[position] == _COLON_BYTE:
            colons += 1
            double = double or data[position - 1] == _COLON_BYTE
        position += 1
    return _add(found, size, start, IPV6) if colons >= 7 or (double and size_of_first == 4) else size


@kernel
def _at_plus(data: _Bytes, high: int, position: int, sizes: _Integers, found: _Integers, size: int) -> int:
    """A plus with at most a space and a parenthesis between it and seven digits."""
    cursor = position + 1
    while cursor < high and cursor <= position + 2 and (data[cursor] == _SPACE or data[cursor] == _OPEN):
        cursor += 1
    if cursor == high or not _is_digit(data[cursor]):
        return size
    digits = _count_digits(data, high, cursor, sizes)
    return _add(found, size, position, INTERNATIONAL) if digits >= 7 else size


@kernel
def _at_literal(
    data: _Bytes, low: int, high: int, position: int, triggers: Triggers, found: _Integers, size: int
) -> int:
    """The literals whose anchor stands here."""
    literal = int(triggers.first[int(data[position - 1]) << 8 | int(data[position])])
    while literal != _NO_LITERAL:
        begin, end = triggers.starts[literal], triggers.starts[literal + 1]
        start = position - int(triggers.anchors[literal])
        if start >= low and start + end - begin <= high:
            matching = 0
            while begin + matching < end and data[start + matching] == triggers.data[begin + matching]:
                matching += 1
            if begin + matching == end:
                size = _add(found, size, start, int(triggers.codes[literal]))
        literal = int(triggers.following[literal])
    return size
