"""What a person sees of a partition in the UI: sizes, ledger, schema, plots, samples. Nothing is decided here."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from matplotlib.figure import Figure

from llm_assets.chain.link import Description
from llm_assets.store.ledger import Count, Ledger
from llm_assets.store.manifest import Manifest

_BLUE, _ORANGE = "#3b6fb6", "#d9822b"


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
    for title, values in description.histograms.items():
        metadata[_key(title)] = _figure_markdown(_histogram(title, values))
    if ledger.dropped or ledger.quarantined:
        metadata["drop_reasons"] = _figure_markdown(_reasons(ledger))
    for kind, rows in description.samples.items():
        if rows:
            metadata[f"sample_{kind}"] = _table(rows)
    return metadata


def ledger_table(ledger: Ledger) -> dg.TableMetadataValue:
    """The ledger, a line for each place where something went."""
    lines: list[tuple[str, str, Count]] = [("in", "", ledger.incoming), ("kept", "", ledger.kept)]
    lines += [("dropped", reason, count) for reason, count in ledger.dropped.items()]
    lines += [("quarantined", error, count) for error, count in ledger.quarantined.items()]
    lines += [("edited", edit, count) for edit, count in ledger.edits.items()]
    lines.append(("out", "", ledger.output))
    records = [dg.TableRecord({"entry": entry, "reason": reason, **count.as_dict()}) for entry, reason, count in lines]
    columns = [
        dg.TableColumn("entry", "string"),
        dg.TableColumn("reason", "string"),
        *(dg.TableColumn(unit, "int") for unit in ("documents", "bytes", "tokens")),
    ]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns))


def column_schema(schema: pa.Schema) -> dg.TableSchema:
    """An Arrow schema as Dagster shows it."""
    return dg.TableSchema([dg.TableColumn(field.name, str(field.type)) for field in schema])


def _table(rows: Sequence[Mapping[str, str]]) -> dg.TableMetadataValue:
    columns = [dg.TableColumn(name, "string") for name in rows[0]]
    return dg.MetadataValue.table([dg.TableRecord(row) for row in rows], schema=dg.TableSchema(columns))


def _key(title: str) -> str:
    """`Length of the kept documents, words` → `length_kept_documents_words`: the UI has little room for keys."""
    words = re.findall(r"[a-z0-9]+", title.lower())
    return "_".join(word for word in words if word not in {"a", "in", "of", "the"})


def _histogram(title: str, values: npt.NDArray[Any]) -> Figure:
    """A histogram, with logarithmic bins where the values spread over more than two orders of magnitude."""
    figure = Figure(figsize=(6, 2.4), layout="constrained")
    axes = figure.subplots()
    if len(values) and values.min() > 0 and values.max() > 100 * values.min():
        axes.hist(values, bins=np.geomspace(values.min(), values.max(), 40).tolist(), color=_BLUE)
        axes.set_xscale("log")
    elif len(values):
        axes.hist(values, bins=40, color=_BLUE)
    axes.set_title(title, fontsize=9, loc="left")
    axes.tick_params(labelsize=8)
    return figure


def _reasons(ledger: Ledger) -> Figure:
    """Documents by where they went, the kept ones first."""
    parts = [("kept", ledger.kept.documents, _BLUE)]
    parts += [(reason, count.documents, _ORANGE) for reason, count in ledger.dropped.items()]
    parts += [(error, count.documents, _ORANGE) for error, count in ledger.quarantined.items()]
    figure = Figure(figsize=(6, 0.8 + 0.25 * len(parts)), layout="constrained")
    axes = figure.subplots()
    labels, sizes, colours = zip(*parts, strict=True)
    axes.barh(range(len(parts)), sizes, color=colours)
    axes.set_yticks(range(len(parts)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_title("Documents", fontsize=9, loc="left")
    axes.tick_params(axis="x", labelsize=8)
    return figure


def _figure_markdown(figure: Figure) -> dg.MarkdownMetadataValue:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    data = base64.b64encode(buffer.getvalue()).decode()
    return dg.MetadataValue.md(f"![plot](data:image/png;base64,{data})")
