"""The kernel that splits what stands between white space into words, punctuation marks being words of their own.

Guarantees the words of spaCy's blank English pipeline but for what is rare in prose and code; it was written from
what that does, not from how. Which characters are marks and which words are exceptions is `marks`' business, and what
the words amount to `count`'s.

A *stretch* is what stands between white space. From its start and its end marks are taken off, one of each at a time,
until nothing more comes off or what is left is an exception:

- at the start an opening mark (brackets, quotation marks, currency, ...), but no `+` before a digit; two or more
  full stops; `US$`, `A$`, `C$`;
- at the end a closing mark; two or more full stops; `'s`; behind a digit a currency, `%`, `+` or a unit; a full stop
  behind a small letter, a digit, a mark, two capitals, or a capital of degrees.

Exceptions (contractions, abbreviations) are cut where they say, or not at all. What is left otherwise is cut around

- pictures and ellipses;
- `+ - * ^` between a digit and a digit or `-`;
- a full stop between a small letter or quotation mark and a capital or quotation mark; a comma between letters;
- hyphens, dashes, `~ : < > = /` between a letter or digit and a letter;

unless it is a URL, a host or an e-mail address. Words in a row that together are a face, such as `:)`, or `''`, are
one word in the end.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from llm_assets.kernels.hashing import mix
from llm_assets.kernels.kernel import kernel
from llm_assets.kernels.utf8 import code_at, decode, is_digit, start_before
from llm_assets.stages.clean.addresses import is_address
from llm_assets.stages.clean.words.lexicon import (
    CUTS,
    EXCEPTION,
    JOINED,
    LONGEST_ENTRY,
    SIZE_SHIFT,
    UNIT,
    Lexicon,
    find,
    key_of,
)

# Flags of a code point; `marks` says which have which.
OPENING: Final = 1
CLOSING: Final = 2
SMALL: Final = 4  # letters that are not capitals, those of scripts without case among them
CAPITAL: Final = 8  # letters that are not small, likewise
QUOTE: Final = 16
ANYWHERE: Final = 32  # cut off wherever it stands
WITHIN: Final = 64  # cuts where it stands between the right characters
BEFORE_STOP: Final = 128  # a final full stop behind it is a word
_LETTER: Final = SMALL | CAPITAL
CUTTING: Final = OPENING | CLOSING | ANYWHERE | WITHIN

LONGEST_JOINED: Final = 5
LONGEST_UNIT: Final = 4
_JOINED_FROM: Final = np.isin(np.arange(256), np.frombuffer(b"()[]<>:;=8'", np.uint8))

KNOWN: Final = 8192
"""Stretches whose cuts are remembered: texts repeat them."""

_STOP, _COMMA, _PLUS, _MINUS, _TIMES, _POWER, _EQUALS, _DOLLAR = 0x2E, 0x2C, 0x2B, 0x2D, 0x2A, 0x5E, 0x3D, 0x24
_APOSTROPHE, _CURLED, _ELLIPSIS, _DASH, _DEGREE, _SECTION = 0x27, 0x2019, 0x2026, 0x2014, 0xB0, 0xA7
_BIG_A, _BIG_C, _BIG_F, _BIG_K, _BIG_S, _BIG_U = 0x41, 0x43, 0x46, 0x4B, 0x53, 0x55
_OTHER_CASE = 0x20

_Bytes = npt.NDArray[np.uint8]
_Places = npt.NDArray[np.uint64]
_Number = int | np.integer[Any]


class Splitter(NamedTuple):
    """The look-up tables of the kernel, and its output arrays.

    `marks` is uint8[0x110000], of flags; `known` uint64[3 * KNOWN], zeros at first, is
    the kernel's own; `cuts` uint8[bytes of the longest text + 1], zeros before and after.
    """

    marks: _Bytes
    lexicon: Lexicon
    known: _Places
    cuts: _Bytes


@kernel(counted=False)
def cut_exception(text: _Bytes, start: int, end: int, lexicon: Lexicon, cuts: _Bytes) -> int:
    """Whether `text[start:end]` is an exception: 0 if not, 1 if it stays whole, 2 if it was cut."""
    entry = find(text, start, end, lexicon)
    if not entry & EXCEPTION:
        return 0
    places = entry & CUTS
    if places == 0:
        return 1
    for place in range(end - start):
        cuts[start + place] |= np.uint8((places >> place) & 1)
    return 2


@kernel(counted=False)
def cut_stretch(
    text: _Bytes, start: int, end: int, marks: _Bytes, lexicon: Lexicon, known: _Places, cuts: _Bytes
) -> None:
    """Set `cuts` at every byte of the stretch `text[start:end]` where a word begins, but its first."""
    size = end - start
    if size > LONGEST_ENTRY:
        _cut_anew(text, start, end, marks, lexicon, cuts)
        return
    low, high = key_of(text, start, size)
    slot = np.int64(mix(low ^ mix(high)) & np.uint64(KNOWN - 1)) * 3
    if known[slot] == low and known[slot + 1] == high and known[slot + 2] >> np.uint64(SIZE_SHIFT) == np.uint64(size):
        places = known[slot + 2] & np.uint64(CUTS)
        while places:
            cuts[start] = np.uint8(places & np.uint64(1))
            places >>= np.uint64(1)
            start += 1
        return
    _cut_anew(text, start, end, marks, lexicon, cuts)
    places = np.uint64(size) << np.uint64(SIZE_SHIFT)
    for place in range(1, size):
        places |= np.uint64(cuts[start + place]) << np.uint64(place)
    known[slot], known[slot + 1], known[slot + 2] = low, high, places


@kernel(counted=False)
def _cut_anew(text: _Bytes, start: int, end: int, marks: _Bytes, lexicon: Lexicon, cuts: _Bytes) -> None:
    if _cut(text, start, end, marks, lexicon, cuts) > 1:
        _join(text, start, end, lexicon, cuts)


@kernel(counted=False)
def _join(text: _Bytes, start: int, end: int, lexicon: Lexicon, cuts: _Bytes) -> None:
    for first in range(start, end - 1):
        if not _JOINED_FROM[text[first]] or not (first == start or cuts[first]):
            continue
        for last in range(min(end, first + LONGEST_JOINED), first + 1, -1):
            if (last == end or cuts[last]) and find(text, first, last, lexicon) & JOINED:
                cuts[first + 1 : last] = 0
                break


@kernel(counted=False)
def _cut(text: _Bytes, start: int, end: int, marks: _Bytes, lexicon: Lexicon, cuts: _Bytes) -> int:
    """All that `cut_stretch` does but for words that are joined; returns how often it cut, exceptions apart."""
    left, right = start, end
    made = 0
    known = False  # that what is left is no exception
    while left < right:
        if not known and cut_exception(text, left, right, lexicon, cuts):
            return made
        opening = _opening(text, left, right, marks)
        if opening and left + opening < right and cut_exception(text, left + opening, right, lexicon, cuts):
            cuts[left + opening] = 1
            return made + 1
        closing = _closing(text, left + opening, right, marks, lexicon)
        if closing and right - closing > left and cut_exception(text, left, right - closing, lexicon, cuts):
            cuts[right - closing] = 1
            return made + 1
        if not opening and not closing:
            return made + _cut_within(text, left, right, marks, cuts)
        known = not opening or not closing
        left += opening
        right -= closing
        if opening and left < end:
            cuts[left] = 1
            made += 1
        if closing and start < right:
            cuts[right] = 1
            made += 1
    return made


@kernel(counted=False)
def _opening(text: _Bytes, left: int, right: int, marks: _Bytes) -> int:
    """Bytes of the mark that comes off the start, or 0."""
    code, size = np.int64(text[left]), 1
    if code >= 0x80:
        code, size = decode(text, left, right)
    if marks[code] & OPENING:
        return 0 if code == _PLUS and left + 1 < right and is_digit(text[left + 1]) else size
    if code == _STOP:
        stop = left + 1
        while stop < right and text[stop] == _STOP:
            stop += 1
        return stop - left if stop - left > 1 else 0
    if code in (_BIG_A, _BIG_C) and left + 1 < right and text[left + 1] == _DOLLAR:
        return 2
    if code == _BIG_U and left + 2 < right and text[left + 1] == _BIG_S and text[left + 2] == _DOLLAR:
        return 3
    return 0


@kernel(counted=False)
def _closing(text: _Bytes, left: int, right: int, marks: _Bytes, lexicon: Lexicon) -> int:
    """Bytes of the mark, ending or unit that comes off the end, or 0."""
    if left >= right:
        return 0
    byte = text[right - 1]
    if byte < 0x80 and marks[byte] & CLOSING:
        return 1
    last = start_before(text, left, right)
    code = code_at(text, last, right)
    kind = marks[code]
    if kind & CLOSING:
        if code == _ELLIPSIS and last - left >= 3 and code_at(text, last - 3, last) == _ELLIPSIS:
            return right - last + 3
        return right - last
    if last == left:
        return 0
    if code == _STOP:
        return _closing_stop(text, left, last, marks)
    previous = start_before(text, left, last)
    if code | _OTHER_CASE == _BIG_S | _OTHER_CASE and code_at(text, previous, last) in (_APOSTROPHE, _CURLED):
        return right - previous
    if kind & OPENING and code not in (_EQUALS, _SECTION):
        return _closing_amount(text, left, last, right)
    return _closing_unit(text, left, right, lexicon)


@kernel(counted=False)
def _closing_stop(text: _Bytes, left: int, last: int, marks: _Bytes) -> int:
    """Handle the full stop at `last`, and those before it."""
    first = last
    while first > left and text[first - 1] == _STOP:
        first -= 1
    if first < last:
        return last + 1 - first
    previous = start_before(text, left, last)
    code = code_at(text, previous, last)
    if marks[code] & BEFORE_STOP:
        return 1
    if previous == left or not marks[code] & CAPITAL:
        return 0
    earlier = code_at(text, start_before(text, left, previous), previous)
    of_degrees = earlier == _DEGREE and code in (_BIG_C, _BIG_F, _BIG_K)
    return 1 if marks[earlier] & CAPITAL or of_degrees else 0


@kernel(counted=False)
def _closing_amount(text: _Bytes, left: int, last: int, right: int) -> int:
    """Handle the currency sign, `%` or `+` at `last`, which is split off after a digit."""
    if is_digit(text[last - 1]):
        return right - last
    if text[last] == _DOLLAR:
        first = last - 1
        if text[first] == _BIG_S and first > left and text[first - 1] == _BIG_U:
            first -= 1
        elif text[first] not in (_BIG_A, _BIG_C):
            return 0
        if first > left and is_digit(text[first - 1]):
            return right - first
    return 0


@kernel(counted=False)
def _closing_unit(text: _Bytes, left: int, right: int, lexicon: Lexicon) -> int:
    first = right
    while first > left and right - first <= LONGEST_UNIT and not is_digit(text[first - 1]):
        first -= 1
    if left < first < right and is_digit(text[first - 1]) and find(text, first, right, lexicon) & UNIT:
        return right - first
    return 0


@kernel(counted=False)
def _cut_within(text: _Bytes, left: int, right: int, marks: _Bytes, cuts: _Bytes) -> int:
    """Cut what no mark comes off, unless it is an address; returns how often."""
    found = 0
    done, position, previous = left, left, np.int64(0)
    while position < right:
        code, size = np.int64(text[position]), 1
        if code >= 0x80:
            code, size = decode(text, position, right)
        kind = marks[code]
        cutting = 0
        if kind & (ANYWHERE | WITHIN):
            cutting = _cutting(text, position, size, right, code, previous, marks)
        if cutting:
            if position > done:
                cuts[position] = 1
                if position + cutting < right:
                    cuts[position + cutting] = 1
                found += 1
                done = position + cutting
            size = cutting
        position += size
        previous = code
    if found and is_address(text, left, right, marks, SMALL):
        cuts[left + 1 : right] = 0
        return 0
    return 2 * found


@kernel(counted=False)
def _cutting(
    text: _Bytes, position: int, size: int, right: int, code: _Number, previous: _Number, marks: _Bytes
) -> int:
    """How many bytes from here on are cut off on both sides, or 0. `previous` is the code point before, or 0."""
    if marks[code] & ANYWHERE:
        return size
    following = position + size
    if following >= right:
        return 0
    behind = code_at(text, following, right)
    before = marks[previous]
    if code == _STOP:
        if behind == _STOP:
            while following < right and text[following] == _STOP:
                following += 1
            return following - position
        return size if before & (SMALL | QUOTE) and marks[behind] & (CAPITAL | QUOTE) else 0
    if code == _COMMA:
        return size if before & _LETTER and marks[behind] & _LETTER else 0
    counted = is_digit(previous)
    if counted and code in (_PLUS, _MINUS, _TIMES, _POWER) and (is_digit(behind) or behind == _MINUS):
        return size
    if code in (_PLUS, _TIMES, _POWER) or not (counted or before & _LETTER):
        return 0
    longest = 3 if code == _MINUS else 2 if code == _DASH else 1
    repeated = 1
    while repeated < longest and behind == code:
        following += size
        repeated += 1
        if following >= right:
            return 0
        behind = code_at(text, following, right)
    return following - position if marks[behind] & _LETTER else 0
