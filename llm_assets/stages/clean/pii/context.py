"""The words beside a number that say what it is.

Guarantees that context never reaches across angle, square or curly brackets or a NUL. A placeholder stands in such
brackets, so the name of one ("<PHONE>") does not make a phone number of what follows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_FENCES: Final = bytes.maketrans(b"<>[]{}", b"\0" * 6)

# Letters of ASCII, and all characters from U+00C0 on but punctuation and symbols (E2 and EF, and E3 80, lead these).
_WORD: Final = re.compile(
    rb"(?:[a-z]|[\xc3-\xdf][\x80-\xbf]|[\xe0\xe1\xe4-\xed][\x80-\xbf]{2}|\xe3[\x81-\xbf][\x80-\xbf])+"
)


def before(match: re.Match[bytes], reach: int) -> bytes:
    """Up to `reach` bytes that end where the match starts, and hold no fence."""
    start = match.start()
    return bytes(match.string[max(0, start - reach) : start]).translate(_FENCES).rpartition(b"\0")[2]


def after(match: re.Match[bytes], reach: int, stop: int) -> bytes:
    """Up to `reach` bytes that begin at `stop`, and hold no fence."""
    return bytes(match.string[stop : stop + reach]).translate(_FENCES).partition(b"\0")[0]


def words(text: bytes) -> list[bytes]:
    """The words of a text, its ASCII letters in lower case."""
    return _WORD.findall(text.lower())


class Vocabulary:
    """Words to look for; of scripts that put no spaces between words, any part of one will do."""

    def __init__(self, spaced: str, unspaced: str = "") -> None:
        self._spaced = frozenset(word.encode() for word in spaced.split())
        self._unspaced = tuple(word.encode() for word in unspaced.split())

    def __iter__(self) -> Iterator[bytes]:
        return iter({*self._spaced, *self._unspaced})

    def __contains__(self, word: bytes) -> bool:
        return word in self._spaced or any(part in word for part in self._unspaced if not word.isascii())

    def among(self, found: list[bytes]) -> bool:
        """Whether one of the words is one to look for."""
        return any(word in self for word in found)
