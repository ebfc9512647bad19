"""A pattern: a regular expression over UTF-8, and a test of its matches.

Guarantees of every pattern: its regular expression matches from one given position on, the span begins at most
`REACH` bytes before that; it looks at no more than that many bytes before it and, unless these are its own, behind
its end; its cost is proportional to what it matches; and the span neither has a NUL nor depends on one. `find`
relies on all of this.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from llm_assets.stages.clean.pii.spans import Kind
from llm_assets.stages.clean.pii.typography import read_numbers

REACH: Final = 320
"""Bytes. Further away than this, no text changes what a pattern makes of a position."""

Extent = tuple[int, int]
"""Start and stop of a span, in bytes of the text."""

Accept = Callable[[re.Match[bytes]], Extent | None]


def whole(match: re.Match[bytes]) -> Extent:
    """All that matched."""
    return match.span()


@dataclass(frozen=True)
class Pattern:
    """A way to write one kind of PII.

    `accept` gets what `regex` matches and says which part of it is the span, or None where it is something else. Both
    get numbers in ASCII if it is `of_numbers`, however they are set in the text.
    """

    name: str
    kind: Kind
    regex: re.Pattern[bytes]
    accept: Accept = whole
    of_numbers: bool = False

    def at(self, text: bytes | memoryview, position: int) -> Extent | None:
        """The span whose match starts at this byte of a document, or None."""
        if not self.of_numbers:
            return self._at(text, position)
        if 0x80 <= text[position] < 0xC0:
            return None  # within a character
        reading = read_numbers(text, position)
        if reading is None:
            return self._at(text, position)
        extent = self._at(reading.text, reading.offset(position))
        return None if extent is None else (reading.position(extent[0]), reading.position(extent[1]))

    def _at(self, text: bytes | memoryview, position: int) -> Extent | None:
        match = self.regex.match(text, position)
        return None if match is None else self.accept(match)
