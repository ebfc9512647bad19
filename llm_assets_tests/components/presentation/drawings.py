"""An SVG read back: shapes and words, with paths as the points that they pass. For tests only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree import ElementTree

_SVG = "{http://www.w3.org/2000/svg}"


@dataclass(frozen=True)
class Drawing:
    """A parsed SVG."""

    root: ElementTree.Element

    @staticmethod
    def of(svg: str) -> Drawing:
        return Drawing(ElementTree.fromstring(svg))

    @property
    def size(self) -> tuple[int, int]:
        return int(self.root.attrib["width"]), int(self.root.attrib["height"])

    @property
    def words(self) -> list[str]:
        return [text.text or "" for text in self.root.iter(f"{_SVG}text")]

    @property
    def bars(self) -> list[tuple[int, int, str]]:
        """From where to where each rectangle goes, and its colour."""
        found = [rect.attrib for rect in self.root.iter(f"{_SVG}rect")]
        return [(int(a["x"]), int(a["x"]) + int(a["width"]), a["fill"]) for a in found]

    @property
    def outlines(self) -> list[tuple[str, list[tuple[float, float]]]]:
        """Of each filled path its colour, and its points."""
        paths = [path.attrib for path in self.root.iter(f"{_SVG}path")]
        return [(each["fill"], points(each["d"])) for each in paths if each["fill"] != "none"]

    @property
    def lines(self) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
        """Of each path that is not filled its attributes, and its points."""
        paths = [path.attrib for path in self.root.iter(f"{_SVG}path")]
        return [(each, points(each["d"])) for each in paths if each["fill"] == "none"]

    @property
    def everything(self) -> list[tuple[float, float]]:
        """Every point that is drawn, and where words begin."""
        texts = [(float(text.attrib["x"]), float(text.attrib["y"])) for text in self.root.iter(f"{_SVG}text")]
        shapes = [point for _, shape in (*self.outlines, *self.lines) for point in shape]
        return [*texts, *shapes, *((float(end), 0.0) for bar in self.bars for end in bar[:2])]


def points(d: str) -> list[tuple[float, float]]:
    """The points of a path of M, L, h, v and z."""
    found: list[tuple[float, float]] = []
    x = y = 0.0
    for command, text in re.findall(r"([MLhvz])([^MLhvz]*)", d):
        numbers = [float(number) for number in text.split()]
        if command in "ML":
            x, y = numbers
        elif command == "h":
            x += numbers[0]
        elif command == "v":
            y += numbers[0]
        found.append((x, y))
    return found


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours `#rgb` or `#rrggbb`, as WCAG 2 defines it."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    channels = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
