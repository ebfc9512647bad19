"""Where in a text a pattern is worth trying: one pass over its bytes that rules out nearly all of them.

Guarantees that no pattern matches at a position left out here (`find` tests it against trying all of them), that
time is proportional to the bytes, and that nothing outside a document is read. What is found there is not decided.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from llm_assets.kernels.kernel import kernel
from llm_assets.stages.clean.pii.triggers import (
    AT_SIGN,
    CARD,
    COLON,
    EMAIL,
    IBAN,
    INTERNATIONAL,
    IPV4,
    IPV6,
    LITERAL,
    NATIONAL,
    NO_LITERAL,
    NORTH_AMERICAN,
    NUMBER,
    SSN,
    Triggers,
)
from llm_assets.stages.clean.pii.typography import read, read_before

_Bytes = npt.NDArray[np.uint8]
_Integers = npt.NDArray[np.int64]

_DOT, _MINUS, _UNDERSCORE, _OPEN = 0x2E, 0x2D, 0x5F, 0x28
_COLON_BYTE, _PLUS, _QUOTE, _SLASH, _CLOSE, _SPACE = 0x3A, 0x2B, 0x27, 0x2F, 0x29, 0x20
_MAX_GAP, _MAX_DIGITS = 5, 19
_GROUPS: Final = 5  # whose sizes are kept
_MOST_OF_ONE_BYTE: Final = 8  # candidates, but for literals


class Candidates(NamedTuple):
    """Range, position in the data and candidate number (see `triggers`), int64[n] each, by range."""

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
            if sign & NUMBER:
                size = _at_number(data, low, high, position, triggers, groups, found, size)
            elif sign & AT_SIGN:
                size = _at_at_sign(data, low, high, position, found, size)
            elif sign & COLON:
                size = _at_colon(data, low, high, position, found, size)
            if sign & LITERAL and position > low:
                literal = int(triggers.first[np.int64(data[position - 1]) << 8 | data[position]])
                if literal != NO_LITERAL:
                    size = _at_literal(data, low, high, position, literal, triggers, found, size)
            for row in range(before, size):
                found[row, 0] = number
            position = _next_sign(data, triggers.signs, _behind(data, triggers.signs, position, stop), stop)
    return Candidates(found[:size, 0].copy(), found[:size, 1].copy(), found[:size, 2].copy())


@kernel(counted=False)
def _behind(data: _Bytes, signs: _Bytes, position: int, stop: int) -> int:
    """Behind the byte, and behind the digits that follow where it is a digit: nothing begins within a group of them."""
    in_group = _is_digit(data[position])
    position += 1
    while in_group and position < stop and _is_digit(data[position]) and signs[data[position]] == NUMBER:
        position += 1
    return position


@kernel(counted=False)
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


@kernel(counted=False)
def _add(found: _Integers, size: int, position: int, code: int) -> int:
    found[size, 1], found[size, 2] = position, code
    return size + 1


@kernel(counted=False)
def _is_digit(byte: int) -> bool:
    return 0x30 <= byte <= 0x39


@kernel(counted=False)
def _is_letter(byte: int) -> bool:
    return 0x61 <= (byte | 0x20) <= 0x7A


@kernel(counted=False)
def _is_word(byte: int) -> bool:
    return _is_letter(byte) or _is_digit(byte) or byte == _UNDERSCORE


@kernel(counted=False)
def _is_hex(byte: int) -> bool:
    return _is_digit(byte) or 0x61 <= (byte | 0x20) <= 0x66


@kernel(counted=False)
def _is_gap(sign: int) -> bool:
    """Whether it may stand between the digits of a number."""
    return sign in (_SPACE, _MINUS, _DOT, _SLASH, _OPEN, _CLOSE)


@kernel(counted=False)
def _count_digits(data: _Bytes, high: int, position: int, table: _Bytes, sizes: _Integers) -> int:
    """Digits from here on, gaps between them left out, counted up to 20; `sizes` become those of the first groups."""
    digits = group = 0
    for number in range(len(sizes)):
        sizes[number] = 0
    while True:
        size = gap = 0
        while position < high and size <= _MAX_DIGITS:
            sign, width = read(data, high, position, table)
            if not _is_digit(sign):
                break
            position += width
            size += 1
        if size == 0:
            return digits
        digits += size
        if group < len(sizes):
            sizes[group] = size
        group += 1
        if digits > _MAX_DIGITS:
            return digits
        while position < high and gap < _MAX_GAP:
            sign, width = read(data, high, position, table)
            if not _is_gap(sign):
                break
            position += width
            gap += 1


@kernel(counted=False)
def _at_number(
    data: _Bytes, low: int, high: int, position: int, triggers: Triggers, sizes: _Integers, found: _Integers, size: int
) -> int:
    """A digit or a plus sign; or a character that merely begins with the same byte as one of these."""
    sign, width = read(data, high, position, triggers.table)
    if _is_digit(sign):
        return _at_digit(data, low, high, position, triggers, sizes, found, size)
    if sign == _PLUS and triggers.wanted[INTERNATIONAL]:
        return _at_plus(data, high, position, width, triggers.table, sizes, found, size)
    return size


@kernel(counted=False)
def _at_digit(
    data: _Bytes, low: int, high: int, position: int, triggers: Triggers, sizes: _Integers, found: _Integers, size: int
) -> int:
    """IBANs, dotted addresses, cards, social security and telephone numbers, where a group of digits begins."""
    wanted, table = triggers.wanted, triggers.table
    previous, width = read_before(data, low, position, table) if position > low else (0, 0)
    if _is_word(previous) or (previous == _DOT and width == 1):
        if wanted[IBAN] and _is_letter(previous) and _is_iban(data, low, high, position, table):
            size = _add(found, size, position - 2, IBAN)
        return size
    digits = _count_digits(data, high, position, table, sizes)
    if wanted[IPV4] and sizes[0] <= 3 and digits >= 4 and _is_dotted_quad(data, high, position, table):
        size = _add(found, size, position, IPV4)
    if digits < 7 or _is_glued(data, low, position):
        return size
    if wanted[CARD] and digits >= 12 and (sizes[0] == 4 or 12 <= sizes[0] <= _MAX_DIGITS):
        size = _add(found, size, position, CARD)
    if wanted[SSN] and (sizes[0] == 9 or (sizes[0] == 3 and sizes[1] == 2 and sizes[2] == 4)):
        size = _add(found, size, position, SSN)
    if wanted[NORTH_AMERICAN]:
        first = 1 if sizes[0] == 1 else 0
        if sizes[first] == 3 and sizes[first + 1] == 3 and sizes[first + 2] == 4:
            size = _add_number(previous, width, position, found, size, NORTH_AMERICAN)
    is_fraction = sizes[0] == 1 and sizes[1] == digits - 1 and data[position + 1] == _DOT
    if not wanted[NATIONAL] or sizes[0] > 15 or is_fraction or _continues(data, low, position):
        return size
    if sizes[1] > 0 or _follows_label(data, low, position, triggers.label_ends):
        size = _add_number(previous, width, position, found, size, NATIONAL)
    return size


@kernel(counted=False)
def _is_glued(data: _Bytes, low: int, position: int) -> bool:
    """Whether a hyphen or a slash joins what stands here to a word."""
    joined = position >= low + 2 and data[position - 1] in (_MINUS, _SLASH)
    return joined and _is_word(data[position - 2])


@kernel(counted=False)
def _is_iban(data: _Bytes, low: int, high: int, position: int, table: _Bytes) -> bool:
    """Whether two digits stand here after two letters that begin a word, and eleven more, or a gap and four, follow."""
    if position < low + 2 or position + 13 > high or not _is_digit(data[position + 1]):
        return False
    if not (_is_letter(data[position - 1]) and _is_letter(data[position - 2])):
        return False
    if position > low + 2 and _is_word(data[position - 3]):
        return False
    sign, width = read(data, high, position + 2, table)
    apart = sign in (_SPACE, _MINUS)
    first = position + 2 + (width if apart else 0)
    last = first + (4 if apart else 11)
    while first < min(last, high) and (_is_letter(data[first]) or _is_digit(data[first])):
        first += 1
    return first == last


@kernel(counted=False)
def _add_number(previous: int, width: int, position: int, found: _Integers, size: int, code: int) -> int:
    """The number, and also with the parenthesis before it."""
    if previous == _OPEN:
        size = _add(found, size, position - width, code)
    return _add(found, size, position, code)


@kernel(counted=False)
def _follows_label(data: _Bytes, low: int, position: int, ends: npt.NDArray[np.bool_]) -> bool:
    """Whether the last word before, with no digit between, ends as a label does or is not ASCII."""
    position -= 1
    while position >= low and data[position] < 0x80 and not _is_letter(data[position]):
        if _is_digit(data[position]):
            return False
        position -= 1
    if position <= low or data[position] >= 0x80 or data[position - 1] >= 0x80:
        return position >= low
    return bool(ends[(np.int64(data[position - 1]) | 0x20) << 8 | data[position] | 0x20])


@kernel(counted=False)
def _continues(data: _Bytes, low: int, position: int) -> bool:
    """Whether a digit and a space stand before: then this is not where a number begins."""
    return position >= low + 2 and data[position - 1] == _SPACE and _is_digit(data[position - 2])


@kernel(counted=False)
def _is_dotted_quad(data: _Bytes, high: int, position: int, table: _Bytes) -> bool:
    digits = dots = 0
    while position < high:
        sign, width = read(data, high, position, table)
        if _is_digit(sign) and digits < 3:
            digits += 1
        elif sign == _DOT and digits > 0 and dots < 3:
            dots, digits = dots + 1, 0
        else:
            break
        position += width
    return dots == 3 and digits > 0


@kernel(counted=False)
def _at_at_sign(data: _Bytes, low: int, high: int, position: int, found: _Integers, size: int) -> int:
    """An @ between what a local part can end with and what a domain can begin with."""
    if position == low or position + 4 > high or not (_is_word(data[position + 1]) or data[position + 1] >= 0xC3):
        return size
    last = int(data[position - 1])
    if _is_word(last) or last in (_DOT, _MINUS, _PLUS, _QUOTE) or 0x80 <= last < 0xC0:
        return _add(found, size, position, EMAIL)
    return size


@kernel(counted=False)
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


@kernel(counted=False)
def _at_plus(
    data: _Bytes, high: int, position: int, width: int, table: _Bytes, sizes: _Integers, found: _Integers, size: int
) -> int:
    """A plus sign of `width` bytes with at most a parenthesis between it and seven digits."""
    cursor = position + width
    if cursor < high:
        sign, width = read(data, high, cursor, table)
        if sign == _OPEN:
            cursor += width
    digits = _count_digits(data, high, cursor, table, sizes)
    return _add(found, size, position, INTERNATIONAL) if digits >= 7 else size


@kernel(counted=False)
def _at_literal(
    data: _Bytes, low: int, high: int, position: int, literal: int, triggers: Triggers, found: _Integers, size: int
) -> int:
    """The literals whose anchor stands here: `literal` and those that follow it."""
    while literal != NO_LITERAL:
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
