"""What a person sees of a partition in the UI: sizes, ledger, schema, plots, samples. Nothing is decided here."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import dagster as dg
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from matplotlib.figure import Figure
from PIL import Image

from llm_assets.contract.histograms import Histogram
from llm_assets.contract.link import Description
from llm_assets.store.ledger import Count, Ledger
from llm_assets.store.manifest import Manifest

_BLUE, _ORANGE, _GREY = "#3b6fb6", "#d9822b", "#333333"
_COLOURS = (_BLUE, _ORANGE)
_SHADES = 32
_LINES = ("--", ":", "-.")
_PARTS = 20


def partition_metadata(manifest: Manifest, description: Description, uri: str) -> dict[str, Any]:
    """Metadata of a materialization."""
    ledger = manifest.ledger
    metadata: dict[str, Any] = {
        "dagster/partition_row_count": description.rows,
        "dagster/column_schema": column_schema(description.columns),
        "dagster/uri": uri,
        "rows": description.rows,
        "bytes": description.bytes,
        "tokens": ledger.output.tokens,
        "digest": manifest.digest,
        "ledger": ledger_table(ledger),
        **description.values,
    }
    if ledger.dropped or ledger.quarantined:
        metadata["drop_reasons"] = _figure_markdown(draw_waterfall(ledger, description.reasons))
    for title, histogram in description.histograms.items():
        metadata[_key(title)] = _figure_markdown(draw_histogram(title, histogram))
    for title, values in description.curves.items():
        metadata[_key(title)] = _figure_markdown(draw_curve(title, values))
    for kind, rows in description.samples.items():
        if rows:
            metadata[f"sample_{kind}"] = _table(rows)
    for name, rows in description.tables.items():
        if rows:
            metadata[name] = _table(rows)
    return metadata


def ledger_table(ledger: Ledger) -> dg.TableMetadataValue:
    """The ledger: a line for what came in, what was kept, each reason and error, each edit, and what went out."""
    lines: list[tuple[str, str, Count]] = [("in", "", ledger.incoming), ("kept", "", ledger.kept)]
    lines += [("dropped", reason, count) for reason, count in ledger.dropped.items()]
    lines += [("quarantined", error, count) for error, count in ledger.quarantined.items()]
    lines += [("edited", edit, count) for edit, count in ledger.edits.items()]
    lines.append(("out", "", ledger.output))
    units = ledger.units
    records = [
        dg.TableRecord({"entry": entry, "reason": reason, **count.as_dict(units)}) for entry, reason, count in lines
    ]
    columns = [
        dg.TableColumn("entry", "string"),
        dg.TableColumn("reason", "string"),
        *(dg.TableColumn(unit, "int") for unit in units),
    ]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns))


def column_schema(schema: pa.Schema) -> dg.TableSchema:
    """An Arrow schema as Dagster shows it."""
    return dg.TableSchema([dg.TableColumn(field.name, str(field.type)) for field in schema])


def _table(rows: Sequence[Mapping[str, str | int]]) -> dg.TableMetadataValue:
    columns = [dg.TableColumn(name, "int" if isinstance(value, int) else "string") for name, value in rows[0].items()]
    return dg.MetadataValue.table([dg.TableRecord(row) for row in rows], schema=dg.TableSchema(columns))


def _key(title: str) -> str:
    """`Length of the kept documents, words` → `length_kept_documents_words`: the UI has little room for keys."""
    words = re.findall(r"[a-z0-9]+", title.lower())
    return "_".join(word for word in words if word not in {"a", "in", "of", "the"})


def draw_histogram(title: str, histogram: Histogram) -> Figure:
    """Series on top of each other, and a line at each mark."""
    figure = Figure(figsize=(6, 2.4), layout="constrained")
    axes = figure.subplots()
    edges, below = histogram.edges, np.zeros(len(histogram.edges) - 1, np.int64)
    for colour, (series, counts) in zip(_COLOURS, histogram.counts.items() if len(below) else (), strict=False):
        axes.stairs(below + counts, edges, baseline=below, fill=True, color=colour, label=series or None)
        below = below + counts
    if histogram.logarithmic:
        # Linear up to the first edge over 0, so that zeros have a place
        axes.set_xscale("symlog", linthresh=float(edges[edges > 0][0]))
    for style, (mark, value) in zip(cycle(_LINES), histogram.marks.items()):
        axes.axvline(value, color=_GREY, linestyle=style, linewidth=1, label=mark)
    if histogram.marks or len(histogram.counts) > 1:
        axes.legend(fontsize=7, framealpha=0.6)
    axes.set_title(title, fontsize=9, loc="left")
    axes.tick_params(labelsize=8)
    return figure


def draw_curve(title: str, values: npt.NDArray[np.float64]) -> Figure:
    """Values at step 1, 2, …, and their mean over every twentieth of the steps."""
    figure = Figure(figsize=(6, 2.4), layout="constrained")
    axes = figure.subplots()
    steps = np.arange(1, len(values) + 1)
    axes.plot(steps, values, color=_BLUE, linewidth=0.6, alpha=0.5)
    if len(values):
        parts = np.array_split(np.stack([steps, values]), min(_PARTS, len(values)), axis=1)
        axes.plot(*np.array([part.mean(axis=1) for part in parts]).T, color=_ORANGE, linewidth=1.5)
    axes.set_title(title, fontsize=9, loc="left")
    axes.tick_params(labelsize=8)
    return figure


def draw_waterfall(ledger: Ledger, order: Sequence[str]) -> Figure:
    """From what came in, by each reason in their order, down to what was kept: in documents, or in rows."""
    places = {reason: place for place, reason in enumerate(order)}
    dropped = sorted(ledger.dropped.items(), key=lambda each: places.get(each[0], len(places)))
    unit = ledger.unit
    losses = [(name, count.amount(unit)) for name, count in (*dropped, *ledger.quarantined.items())]
    incoming = ledger.incoming.amount(unit)
    left = incoming - np.cumsum([0, *(lost for _, lost in losses)])
    steps = [("came in", 0, incoming, _BLUE)]
    steps += [(name, int(rest), lost, _ORANGE) for (name, lost), rest in zip(losses, left[1:], strict=True)]
    steps.append(("kept", 0, ledger.kept.amount(unit), _BLUE))
    figure = Figure(figsize=(6, 0.8 + 0.22 * len(steps)), layout="constrained")
    axes = figure.subplots()
    labels, starts, sizes, colours = zip(*steps, strict=True)
    bars = axes.barh(range(len(steps)), sizes, left=starts, color=colours)
    axes.bar_label(bars, [f" {size:,}" for size in sizes], fontsize=7)
    axes.set_xlim(0, 1.25 * max(1, incoming))
    axes.locator_params(axis="x", nbins=4)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_yticks(range(len(steps)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_title(unit.capitalize(), fontsize=9, loc="left")
    axes.tick_params(axis="x", labelsize=8)
    return figure


def _figure_markdown(figure: Figure) -> dg.MarkdownMetadataValue:
    """The figure as a picture of few colours, a quarter of the size: it lies in the event log for good."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=80)
    reduced = io.BytesIO()
    Image.open(drawn).convert("RGB").quantize(_SHADES).save(reduced, format="png", optimize=True)
    data = base64.b64encode(reduced.getvalue()).decode()
    return dg.MetadataValue.md(f"![plot](data:image/png;base64,{data})")
