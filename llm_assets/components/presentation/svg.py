"""SVG as text: lines, shapes and words on a canvas.

Guarantees well-formed XML whatever the words are, the same text for the same drawing, and colours that can be read on
white and on black: a picture does not learn which of the two the page around it has. What is drawn is decided above.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise, zip_longest
from typing import Final

INK: Final = "#777"
"""Colours of text and axes: a contrast of at least 4.4 to white and to black."""
FILLS: Final = ("#3b6fb6", "#c8741f", "#5b8c3e", "#9a5fb0")
"""Colours of shapes by series: a contrast of at least 3 to white and to black."""

FONT_SIZE: Final = 11
LINE_HEIGHT: Final = 15
_EM: Final = 0.58
"""Mean width of a character of a sans-serif font, as a share of its size; wide ones of East Asia take 1."""

Point = tuple[float, float]


@dataclass
class Canvas:
    """A drawing of `width` by `height` pixels; the origin is the upper left corner."""

    width: int
    height: int
    _shapes: list[str] = field(default_factory=list[str])

    def rectangle(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        """A filled rectangle, at least a pixel wide: little is not nothing."""
        size = f"width='{max(1, round(width))}' height='{round(height)}'"
        self._shapes.append(f"<rect x='{round(x)}' y='{round(y)}' {size} fill='{fill}'/>")

    def steps(self, edges: Iterable[float], tops: Iterable[float], base: float, fill: str) -> None:
        """A filled outline from the base to a top between each two edges, in whole pixels, rounded up."""
        places = [round(edge) for edge in edges]
        levels = [round(base), *(math.floor(top) for top in tops), round(base)]
        rises = (f"v{there - here}" for here, there in pairwise(levels))
        runs = (f"h{there - here}" for here, there in pairwise(places))
        outline = "".join(map("".join, zip_longest(rises, runs, fillvalue="")))
        self._shapes.append(f"<path d='M{places[0]} {levels[0]}{outline}z' fill='{fill}'/>")

    def lines(self, lines: Iterable[Iterable[Point]], colour: str, width: float = 1, more: str = "") -> None:
        """Each an open line through points. `more` are further attributes."""
        outlines = "".join("M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in line) for line in lines)
        self._shapes.append(
            f"<path d='{outlines}' fill='none' stroke='{colour}' stroke-width='{_number(width)}'{more}/>"
        )

    def words(self, words: Iterable[tuple[float, float, str]], anchor: str = "start") -> None:
        """Words at places on their base lines: their `start`, `middle` or `end`."""
        texts = (f"<text x='{round(x)}' y='{round(y)}'>{escaped(each)}</text>" for x, y, each in words)
        self._shapes.append(f"<g text-anchor='{anchor}'>{''.join(texts)}</g>")

    def svg(self) -> str:
        """The drawing, complete."""
        size = f"width='{self.width}' height='{self.height}'"
        style = f"font-family='sans-serif' font-size='{FONT_SIZE}' fill='{INK}'"
        return f"<svg xmlns='http://www.w3.org/2000/svg' {size} {style}>{''.join(self._shapes)}</svg>"


def text_width(words: str) -> float:
    """About how many pixels words take."""
    ems = (
        1.0 if unicodedata.east_asian_width(each) in "WF" else _EM for each in words if not unicodedata.combining(each)
    )
    return FONT_SIZE * sum(ems)


def shortened(words: str, width: float) -> str:
    """The words, cut where they would take more pixels than that."""
    if text_width(words) <= width:
        return words
    kept = words
    while kept and text_width(kept + "…") > width:
        kept = kept[:-1]
    return kept + "…"


def escaped(words: str) -> str:
    """The words as XML text. What XML cannot hold becomes the replacement character."""
    allowed = "".join(each if _is_allowed(each) else "\ufffd" for each in words)
    return allowed.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _is_allowed(character: str) -> bool:
    """Whether it is a Char of XML 1.0, section 2.2."""
    code = ord(character)
    return character in "\t\n\r" or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code >= 0x10000


def _number(value: float) -> str:
    """Rounded: a tenth of a pixel is enough."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text
