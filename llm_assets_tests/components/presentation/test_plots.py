"""Plots: what is drawn is what was counted, inside of the picture, and it is small."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.components.presentation.plots import WIDTH, curve_svg, histogram_svg, waterfall_svg
from llm_assets.components.presentation.svg import FILLS
from llm_assets.contract.histograms import Histogram, ValueRange
from llm_assets.store.ledger import Count, Ledger
from llm_assets_tests.components.presentation.drawings import Drawing

LEDGER = Ledger(
    incoming=Count(100),
    kept=Count(60),
    output=Count(60),
    dropped={"z.late": Count(5), "a.early": Count(20), "m.middle": Count(10)},
    quarantined={"broken": Count(5)},
)
ORDER = ["m.middle", "a.early", "unused", "z.late"]

values = st.lists(st.integers(0, 10**7) | st.floats(0, 1), min_size=1, max_size=60)


def made(kept: npt.NDArray[np.float64], rejected: npt.NDArray[np.float64], **marks: float) -> Histogram:
    histogram = Histogram.empty(ValueRange().including(kept).including(rejected), ["kept", "rejected"], marks)
    histogram.add("kept", kept)
    histogram.add("rejected", rejected)
    return histogram


def is_inside(drawing: Drawing) -> bool:
    width, height = drawing.size
    return all(-1 <= x <= width + 1 and -1 <= y <= height + 1 for x, y in drawing.everything)


@given(values, values, st.floats(0, 1e7))
def test_a_histogram_is_as_high_as_its_counts(kept: list[float], rejected: list[float], mark: float) -> None:
    histogram = made(np.array(kept, np.float64), np.array(rejected, np.float64), least=mark)
    drawing = Drawing.of(histogram_svg(histogram))
    assert is_inside(drawing) and {"kept", "rejected", "least"} <= set(drawing.words)
    (colour, total), (front, lower) = drawing.outlines
    assert (colour, front) == (FILLS[1], FILLS[0])
    base = total[0][1]
    stacked = histogram.counts["kept"] + histogram.counts["rejected"]
    tallest = base - min(y for _, y in total)
    assert tallest == pytest.approx(120, abs=1)  # the tallest bin fills the plot
    for outline, counts in ((total, stacked), (lower, histogram.counts["kept"])):
        heights = [base - y for (x, y), (to, same) in itertools.pairwise(outline) if y == same and to > x]
        expected = [math.ceil(120 * count / stacked.max() - 1e-9) for count in counts.tolist()]
        assert len(heights) == len(expected) and heights == pytest.approx(expected, abs=1)
        assert [height > 0 for height in heights] == [count > 0 for count in counts.tolist()]


def test_a_mark_is_where_its_bin_is() -> None:
    histogram = made(np.array([0, 1, 5, 7.0]), np.array([50, 80_000.0]), threshold=50.0)
    assert histogram.logarithmic
    drawing = Drawing.of(histogram_svg(histogram))
    (mark,) = [points for style, points in drawing.lines if style.get("stroke-width") == "1.5"]
    (_, outline), _ = drawing.outlines
    edges = sorted({x for x, _ in outline})
    bin_of_mark = int(np.searchsorted(histogram.edges, 50.0, side="right")) - 1
    assert len(edges) == len(histogram.edges)
    assert edges[bin_of_mark] - 1 <= mark[0][0] <= edges[bin_of_mark + 1] + 1 and mark[0][0] == mark[1][0]
    assert {"0", "1", "10", "100", "1k", "10k"} <= set(drawing.words)


def test_a_histogram_of_one_series_needs_no_legend() -> None:
    drawing = Drawing.of(histogram_svg(Histogram.of(np.array([1, 2, 3]))))
    assert drawing.bars == [] and len(drawing.outlines) == 1


def test_more_series_than_colours_are_refused() -> None:
    histogram = Histogram.empty(ValueRange(0, 1, 1), ["a", "b", "c", "d", "e"], {})
    with pytest.raises(ValueError, match="argument"):
        histogram_svg(histogram)


def test_where_there_is_nothing_it_says_so() -> None:
    for svg in (histogram_svg(Histogram.of(np.empty(0, np.int64))), curve_svg(np.array([np.nan, np.inf]))):
        assert "no values" in Drawing.of(svg).words


@given(st.lists(st.floats(-1e9, 1e9) | st.just(math.nan) | st.just(math.inf), max_size=700))
def test_a_curve_reaches_from_its_least_to_its_greatest(losses: list[float]) -> None:
    svg = curve_svg(np.array(losses, np.float64))
    drawing = Drawing.of(svg)
    finite = [loss for loss in losses if math.isfinite(loss)]
    assert is_inside(drawing) and len(svg) < 4_000
    drawn = {style["stroke"]: points for style, points in drawing.lines if style["stroke"] in FILLS}
    if finite:
        ys = [y for _, y in drawn[FILLS[0]]]
        assert max(ys) - min(ys) == pytest.approx(0 if max(finite) == min(finite) else 120 / 1.1, abs=1)


def test_a_curve_shows_a_lone_peak_and_the_mean() -> None:
    losses = np.full(10_000, 2.0)
    losses[7_777] = 9.0
    drawing = Drawing.of(curve_svg(losses))
    drawn = {style["stroke"]: points for style, points in drawing.lines if style["stroke"] in FILLS}
    x, _ = min(drawn[FILLS[0]], key=lambda point: point[1])
    (left, _), (right, _) = drawn[FILLS[0]][0], drawn[FILLS[0]][-1]
    assert (x - left) / (right - left) == pytest.approx(0.7777, abs=0.01)
    assert len(drawn[FILLS[1]]) <= 21


def test_the_waterfall_leads_from_all_to_the_kept() -> None:
    drawing = Drawing.of(waterfall_svg(LEDGER, ORDER))
    names = [word for word in drawing.words if not word.isdigit()]
    assert names == ["came in", "m.middle", "a.early", "z.late", "broken", "kept"]
    left = drawing.bars[0][0]
    unit = (drawing.bars[0][1] - left) / 100
    ends = [((begin - left) / unit, (end - left) / unit) for begin, end, _ in drawing.bars]
    expected = [(0, 100), (90, 100), (70, 90), (65, 70), (60, 65), (0, 60)]
    assert np.array(ends) == pytest.approx(np.array(expected), abs=0.6)
    assert is_inside(drawing)


def test_a_waterfall_of_rows_counts_rows() -> None:
    rows = Ledger(Count(rows=10), Count(rows=7), Count(rows=7), {"over_share:docs": Count(rows=3)})
    assert Drawing.of(waterfall_svg(rows, [])).words == ["came in", "over_share:docs", "kept", "10", "3", "7"]


@given(st.dictionaries(st.text(max_size=80), st.integers(0, 10**12), max_size=8))
def test_a_waterfall_of_any_names_stays_inside(dropped: dict[str, int]) -> None:
    total = sum(dropped.values())
    ledger = Ledger(Count(total), Count(0), Count(0), {name: Count(count) for name, count in dropped.items()})
    drawing = Drawing.of(waterfall_svg(ledger, []))
    assert is_inside(drawing) and drawing.size[0] == WIDTH


def test_plots_are_small_and_the_same_each_time() -> None:
    random = np.random.default_rng(5)
    lengths = np.exp(random.normal(5, 2, 20_000))
    marks = {"gopher_quality.min_words, at least 50": 50.0, "gopher_quality.max_words, at most 100,000": 1e5}
    svgs = [histogram_svg(made(lengths[:9_000], lengths[9_000:], **marks)) for _ in range(2)]
    assert svgs[0] == svgs[1] and len(svgs[0]) < 2_500
    assert len(curve_svg(random.normal(4, 1, 5_000))) < 4_000
    assert len(waterfall_svg(LEDGER, ORDER)) < 1_200
