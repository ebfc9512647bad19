"""The report of a partition: one Markdown document with all its plots, which are part of it.

Guarantees a document that refers to nothing outside of itself. What is in the plots is decided elsewhere.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

from llm_assets.components.presentation.plots import curve_svg, histogram_svg, waterfall_svg
from llm_assets.contract.link import Description
from llm_assets.store.ledger import Ledger


def report_markdown(ledger: Ledger, description: Description) -> str:
    """A heading and a picture for each plot; empty where there is nothing to plot."""
    return "\n\n".join(f"#### {literal(title)}\n\n{picture(title, svg)}" for title, svg in _plots(ledger, description))


def _plots(ledger: Ledger, description: Description) -> Iterator[tuple[str, str]]:
    if ledger.dropped or ledger.quarantined:
        yield (
            f"{ledger.unit.capitalize()}: from what came in to what was kept",
            waterfall_svg(ledger, description.reasons),
        )
    for title, histogram in description.histograms.items():
        yield title, histogram_svg(histogram)
    for title, values in description.curves.items():
        yield title, curve_svg(values)


def picture(title: str, svg: str) -> str:
    """An SVG as a picture of Markdown."""
    return f"![{literal(title)}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def literal(words: str) -> str:
    """Words as one line of Markdown text that means itself."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(words.split()))
