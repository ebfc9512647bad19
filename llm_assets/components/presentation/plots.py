"""Plots of a partition as SVG: a histogram, a curve, and the way from all documents to the kept ones.

Guarantees a few thousand bytes each, whatever was counted: they lie in the event log for good. The same numbers give
the same text. Nothing is counted here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Final

import numpy as np
import numpy.typing as npt

from llm_assets.components.presentation.scales import Linear, Logarithmic, Scale, tick_labels
from llm_assets.components.presentation.svg import (
    FILLS,
    FONT_SIZE,
    INK,
    LINE_HEIGHT,
    Canvas,
    Point,
    shortened,
    text_width,
)
from llm_assets.contract.histograms import Histogram
from llm_assets.store.ledger import Ledger

WIDTH: Final = 480
_PLOT_HEIGHT: Final = 120
_GAP: Final = 6
_SOLID: Final = ""
_DASHES: Final = ("5 3", "1 2", "7 2 1 2")
_NAME_WIDTH: Final = 260
_MARK_WIDTH: Final = WIDTH - 80
_CURVE_PARTS: Final = 80
_MEANS: Final = 20


@dataclass(frozen=True)
class _Key:
    """An entry of a legend: a filled square, or a line of these dashes."""

    words: str
    colour: str
    dashes: str | None = None


def histogram_svg(histogram: Histogram) -> str:
    """Series on top of each other, at most as many as `FILLS`, and a line at each mark."""
    edges, series = histogram.edges.tolist(), histogram.counts
    marks = list(zip(histogram.marks.items(), cycle(_DASHES)))
    fills = FILLS[: len(series)]
    keys = [_Key(name, fill) for name, fill in zip(series, fills, strict=True) if len(series) > 1]
    keys += [_Key(shortened(name, _MARK_WIDTH), INK, dashes) for (name, _), dashes in marks]
    stacked = np.cumsum(list(series.values()), axis=0)
    axes = _Axes.drawn(keys, _horizontal(histogram), Linear(0, max(1, int(stacked.max(initial=1))), most=4, whole=True))
    if len(edges) < 2:
        axes.say_nothing()
    else:
        for tops, fill in reversed(list(zip(stacked.tolist(), fills, strict=True))):
            axes.canvas.steps(map(axes.x, edges), map(axes.y, tops), axes.bottom, fill)
    for (_, value), dashes in marks:
        axes.canvas.lines([[(axes.x(value), axes.top), (axes.x(value), axes.bottom)]], INK, 1.5, _dashed(dashes))
    return axes.canvas.svg()


def curve_svg(values: npt.NDArray[np.float64]) -> str:
    """Values at step 1, 2, …, float64 [steps]: the extremes of neighbours, and the mean of each twentieth of the steps.

    What is not finite is left out.
    """
    steps = np.flatnonzero(np.isfinite(values))
    known = np.stack([(steps + 1).astype(np.float64), values[steps]])
    low, high = (float(known[1].min()), float(known[1].max())) if len(steps) else (0.0, 1.0)
    keys = [_Key("least and greatest", FILLS[0], _SOLID), _Key("mean", FILLS[1], _SOLID)]
    room = (high - low) / 20 or max(abs(high) / 20, 1e-9)
    axes = _Axes.drawn(keys, Linear(0, max(1, len(values))), Linear(low - room, high + room, most=4))
    if len(steps):
        axes.line(np.concatenate([_extremes(part) for part in _parts(known, _CURVE_PARTS)], axis=1), FILLS[0], 1)
        axes.line(np.stack([part.mean(axis=1) for part in _parts(known, _MEANS)], axis=1), FILLS[1], 2)
    else:
        axes.say_nothing()
    return axes.canvas.svg()


def waterfall_svg(ledger: Ledger, order: Sequence[str]) -> str:
    """From what came in, by each reason in their order, down to what was kept: in documents, or in rows."""
    bars = _bars(ledger, order)
    names = min(_NAME_WIDTH, max(text_width(name) for name, *_ in bars)) + _GAP
    counts = max(text_width(f"{size:,}") for _, _, size, _ in bars) + 2 * _GAP
    canvas = Canvas(WIDTH, LINE_HEIGHT * len(bars) + _GAP)
    scale = (WIDTH - names - counts) / max(1, ledger.incoming.amount(ledger.unit))
    for place, (_, start, size, fill) in enumerate(bars):
        canvas.rectangle(names + start * scale, place * LINE_HEIGHT + 2, size * scale, FONT_SIZE, fill)
    bases = [place * LINE_HEIGHT + FONT_SIZE + 1 for place in range(len(bars))]
    named = zip(bases, bars, strict=True)
    canvas.words(((names - _GAP, base, shortened(name, _NAME_WIDTH)) for base, (name, *_) in named), "end")
    ends = zip(bases, bars, strict=True)
    canvas.words((names + (start + size) * scale + _GAP, base, f"{size:,}") for base, (_, start, size, _) in ends)
    return canvas.svg()


def _bars(ledger: Ledger, order: Sequence[str]) -> list[tuple[str, int, int, str]]:
    """Name, where it begins, amount and colour of each bar."""
    places = {reason: place for place, reason in enumerate(order)}
    dropped = sorted(ledger.dropped.items(), key=lambda each: places.get(each[0], len(places)))
    unit = ledger.unit
    left = ledger.incoming.amount(unit)
    bars = [("came in", 0, left, FILLS[0])]
    for name, count in (*dropped, *ledger.quarantined.items()):
        left -= count.amount(unit)
        bars.append((name, left, count.amount(unit), FILLS[1]))
    return [*bars, ("kept", 0, ledger.kept.amount(unit), FILLS[0])]


def _horizontal(histogram: Histogram) -> Scale:
    """The scale of a histogram. Zeros have a bin of their own before the logarithmic ones, as wide as one of them."""
    edges = histogram.edges.tolist()
    if len(edges) < 2:
        return Linear(0, 1)
    if not histogram.logarithmic:
        return Linear(edges[0], edges[-1])
    zeros = 1 / (len(edges) - 1) if edges[0] == 0 else 0.0
    return Logarithmic(edges[1] if zeros else edges[0], edges[-1], zeros)


@dataclass(frozen=True)
class _Axes:
    """A canvas with a legend above and a frame of axes, on which `left`, `right`, `top` and `bottom` bound the plot."""

    canvas: Canvas
    horizontal: Scale
    vertical: Linear
    left: float
    right: float
    top: float
    bottom: float

    @staticmethod
    def drawn(keys: Sequence[_Key], horizontal: Scale, vertical: Linear) -> _Axes:
        """Axes and legend are drawn already."""
        across, up = _labelled(horizontal), _labelled(vertical)
        lines = _legend_lines(keys)
        top = len(lines) * LINE_HEIGHT + _GAP
        left = max(map(text_width, up.values()), default=0) + _GAP
        canvas = Canvas(WIDTH, top + _PLOT_HEIGHT + LINE_HEIGHT + _GAP)
        axes = _Axes(canvas, horizontal, vertical, left, WIDTH - 4 * _GAP, top, top + _PLOT_HEIGHT)
        for number, line in enumerate(lines):
            _draw_keys(canvas, line, left, number * LINE_HEIGHT)
        canvas.lines(([(left, axes.y(value)), (axes.right, axes.y(value))] for value in up), INK, 1, " opacity='.3'")
        canvas.words(((left - _GAP, axes.y(value) + FONT_SIZE / 3, label) for value, label in up.items()), "end")
        ticks = ([(axes.x(value), axes.bottom), (axes.x(value), axes.bottom + _GAP / 2)] for value in across)
        canvas.lines([*ticks, [(left, axes.bottom), (axes.right, axes.bottom)]], INK)
        canvas.words(((axes.x(value), axes.bottom + LINE_HEIGHT, label) for value, label in across.items()), "middle")
        return axes

    def x(self, value: float) -> float:
        """Pixels from the left."""
        return self.left + self.horizontal.place(value) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Pixels from above."""
        return self.bottom - self.vertical.place(value) * (self.bottom - self.top)

    def say_nothing(self) -> None:
        """Where there is nothing to draw, say so."""
        self.canvas.words([((self.left + self.right) / 2, (self.top + self.bottom) / 2, "no values")], "middle")

    def line(self, points: npt.NDArray[np.float64], colour: str, width: float) -> None:
        """A line through points, float64 [2, n]."""
        places: list[Point] = [(self.x(x), self.y(y)) for x, y in points.T.tolist()]
        self.canvas.lines([places], colour, width)


def _labelled(scale: Scale) -> Mapping[float, str]:
    ticks = scale.ticks()
    return dict(zip(ticks, tick_labels(ticks), strict=True))


def _legend_lines(keys: Sequence[_Key]) -> list[list[_Key]]:
    """Entries in as few lines as they fit in."""
    lines: list[list[_Key]] = []
    room = 0.0
    for key in keys:
        needed = _key_width(key)
        if needed > room or not lines:
            lines.append([])
            room = float(WIDTH)
        lines[-1].append(key)
        room -= needed
    return lines


def _key_width(key: _Key) -> float:
    return LINE_HEIGHT + text_width(key.words) + 3 * _GAP


def _draw_keys(canvas: Canvas, keys: Sequence[_Key], left: float, top: float) -> None:
    for key in keys:
        if key.dashes is not None:
            middle = top + LINE_HEIGHT / 2
            canvas.lines([[(left, middle), (left + LINE_HEIGHT, middle)]], key.colour, 2, _dashed(key.dashes))
        else:
            canvas.rectangle(left + 2, top + 2, FONT_SIZE, FONT_SIZE, key.colour)
        canvas.words([(left + LINE_HEIGHT + _GAP, top + FONT_SIZE + 1, key.words)])
        left += _key_width(key)


def _dashed(dashes: str) -> str:
    return f" stroke-dasharray='{dashes}'" if dashes else ""


def _parts(points: npt.NDArray[np.float64], most: int) -> list[npt.NDArray[np.float64]]:
    """Points [2, n] in at most so many parts of neighbours."""
    return np.array_split(points, min(most, points.shape[1]), axis=1)


def _extremes(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The lowest and the highest of some points, in their order."""
    places = np.unique([points[1].argmin(), points[1].argmax()])
    return points[:, places]
