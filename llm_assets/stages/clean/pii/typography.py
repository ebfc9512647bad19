"""Digits and what stands between them, in every script and typography: one table, which all kinds of numbers share.

Guarantees that a number set with other digits, spaces, hyphens, points, slashes, parentheses or plus signs reads as
if it were set in ASCII: for `scan` character by character, for the patterns by `read_numbers`. How numbers are
written does not belong here.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from llm_assets.kernels.kernel import kernel
from llm_assets.kernels.utf8 import decode, start_before

_Bytes = npt.NDArray[np.uint8]

_DIGITS: Final = "Nd"
_MARKS: Final = {"Zs": " ", "Pd": "-"}
_OTHER_MARKS: Final = {
    "-": "\u00ad\u2043\u2212\u30fc\uff70",
    ".": "\u2024\ufe52\uff0e",
    "/": "\u2044\u2215\uff0f",
    "(": "\ufe59\uff08",
    ")": "\ufe5a\uff09",
    "+": "\ufe62\uff0b",
}
"""Marks by what they read as, beside those of a category."""

_LAST_MARK: Final = 0xFFFF
_LAST_DIGIT: Final = 0x1FFFF

_BEFORE, _AFTER = 96, 48
"""Bytes before a number, and characters behind it, that may say what it is."""

_IN_ASCII, _LONGEST = 128, 448
"""Bytes that a number and what is behind it have at most: in ASCII, and with other digits and marks."""

_ASCII: Final = bytes(range(0x80))

UNREAD: Final = 0xFF
"""The reading of a character that is neither ASCII nor in the table."""


@cache
def ascii_equivalents() -> dict[str, str]:
    """The table: what reads as an ASCII digit or mark (Unicode's decimal digits, spaces, dashes and some more)."""
    table = {mark: equivalent for equivalent, marks in _OTHER_MARKS.items() for mark in marks}
    for code in range(0x80, _LAST_DIGIT + 1):
        character, category = chr(code), unicodedata.category(chr(code))
        if category == _DIGITS:
            table[character] = str(unicodedata.decimal(character))
        elif category in _MARKS and code <= _LAST_MARK:
            table[character] = _MARKS[category]
    return table


@cache
def reading_table() -> _Bytes:
    """The table for kernels: the ASCII byte that a code point reads as, or 0 (uint8[last code point + 1])."""
    equivalents = ascii_equivalents()
    table = np.zeros(max(map(ord, equivalents)) + 1, np.uint8)
    table[[ord(character) for character in equivalents]] = [ord(equivalent) for equivalent in equivalents.values()]
    table.flags.writeable = False
    return table


@kernel(inline="always")
def read(data: _Bytes, high: int, position: int, table: _Bytes) -> tuple[int, int]:
    """The reading of the character at `position` of `data[:high]`, and its size in bytes; `table`: `reading_table`."""
    return (int(data[position]), 1) if data[position] < 0x80 else _read_beyond_ascii(data, high, position, table)


@kernel(inline="always")
def read_before(data: _Bytes, low: int, position: int, table: _Bytes) -> tuple[int, int]:
    """`read` of the character of `data[low:]` that ends at `position`, which is behind `low`."""
    if data[position - 1] < 0x80:
        return int(data[position - 1]), 1
    return _read_beyond_ascii(data, position, start_before(data, low, position), table)


@kernel(counted=False)
def _read_beyond_ascii(data: _Bytes, high: int, position: int, table: _Bytes) -> tuple[int, int]:
    code, size = decode(data, position, high)
    if size > 1 and code < len(table) and table[code] != 0:
        return int(table[code]), size
    return UNREAD, size


@dataclass(frozen=True)
class Reading:
    """Part of a text whose numbers are read in ASCII, and where the text's own characters are.

    `text` is that part, which starts at byte `low` of the whole; `given` are its characters as they were given, as
    many as in `text`.
    """

    text: bytes
    low: int
    given: str

    def offset(self, position: int) -> int:
        """The byte of `text` for a byte of the whole at which a character starts."""
        characters = len(self.given.encode()[: position - self.low].decode())
        return len(self.text.decode()[:characters].encode())

    def position(self, offset: int) -> int:
        """The byte of the whole for a byte of `text` at which a character starts or the part ends."""
        characters = len(self.text[:offset].decode())
        return self.low + len(self.given[:characters].encode())


def read_numbers(text: bytes | memoryview, position: int) -> Reading | None:
    """The number that starts at a position and what is beside it, read in ASCII; None if that changes nothing.

    A number is all that follows a digit and is a digit or a mark, with the plus sign and parentheses before; or what
    begins like an IBAN, and groups of up to four letters and digits behind it. Spaces are read everywhere.
    """
    low = max(0, position - _BEFORE)
    near = bytes(text[low : position + _IN_ASCII])
    if near.isascii():
        return None
    if ascii_equivalents().keys().isdisjoint(near.translate(None, _ASCII).decode(errors="ignore")):
        return None
    while low < position and 0x80 <= text[low] < 0xC0:
        low += 1
    behind, ahead = (
        bytes(text[low:position]).decode(),
        bytes(text[position : position + _LONGEST]).decode(errors="ignore"),
    )
    table, number = _translation()
    match = number.match(ahead)
    given = behind + ahead[: _AFTER + (match.end() if match else 0)]
    read_in_ascii = number.sub(lambda match: match[0].translate(table), given)
    return None if read_in_ascii == given else Reading(read_in_ascii.encode(), low, given)


@cache
def _translation() -> tuple[dict[int, str], re.Pattern[str]]:
    table = ascii_equivalents()

    def marks(wanted: str) -> str:
        return re.escape("".join(mark for mark, equivalent in table.items() if equivalent in wanted))

    some, opening, spaces = marks(" -./()+"), marks("(+"), marks(" ")
    iban = rf"(?<![A-Za-z0-9])[A-Za-z]{{2}}[0-9]{{2}}(?:[{some}][A-Za-z0-9]{{1,4}})+"
    number = rf"[(+{opening}]*\d[\d{some} ()./+-]*"
    translation = {ord(mark): equivalent for mark, equivalent in table.items()}
    return translation, re.compile(rf"{iban}|{number}|[{spaces}]")
