"""Metadata of a partition for the UI: numbers, ledger, columns, samples, and one report. Nothing is counted here.

Guarantees that a number is there only where it is known, so that what Dagster plots over time never shows a 0 for
what a stage does not have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from llm_assets.components.presentation.report import report_markdown
from llm_assets.contract.histograms import Histogram
from llm_assets.contract.link import Description
from llm_assets.kernels.arrow import meaning
from llm_assets.store.ledger import Count, Ledger
from llm_assets.store.manifest import Manifest

_DIGITS = 6
"""Significant digits of the edges of a stored histogram."""


def partition_metadata(manifest: Manifest, description: Description, uri: str, seconds: float) -> dict[str, Any]:
    """Metadata of a materialization that took so many seconds to make."""
    ledger, worked = manifest.ledger, description.worked_bytes
    report = report_markdown(ledger, description)
    tables = {**{f"sample_{kind}": rows for kind, rows in description.samples.items()}, **description.tables}
    stored = {title: _stored(histogram) for title, histogram in description.histograms.items()}
    found: dict[str, Any] = {
        "dagster/partition_row_count": description.rows,
        "dagster/column_schema": column_schema(description.columns),
        "dagster/uri": uri,
        "bytes": description.bytes,
        "bytes_per_second": worked / seconds if worked and seconds else None,
        "digest": manifest.digest,
        "ledger": ledger_table(ledger),
        **description.values,
        "report": dg.MetadataValue.md(report) if report else None,
        "histograms": dg.MetadataValue.json(stored) if stored else None,
        **{name: _table(rows) if rows else None for name, rows in tables.items()},
    }
    return {name: value for name, value in found.items() if value is not None}


def ledger_table(ledger: Ledger) -> dg.TableMetadataValue:
    """The ledger: a line for what came in, what was kept, each reason and error, each edit, and what went out."""
    lines: list[tuple[str, str, Count]] = [("in", "", ledger.incoming), ("kept", "", ledger.kept)]
    lines += [("dropped", reason, count) for reason, count in ledger.dropped.items()]
    lines += [("quarantined", error, count) for error, count in ledger.quarantined.items()]
    lines += [("edited", edit, count) for edit, count in ledger.edits.items()]
    lines.append(("out", "", ledger.output))
    return _table([{"entry": entry, "reason": reason, **count.as_dict(ledger.units)} for entry, reason, count in lines])


def column_schema(schema: pa.Schema) -> dg.TableSchema:
    """An Arrow schema as Dagster shows it, each field of a struct as a column of its own."""
    return dg.TableSchema([column for field in schema for column in _columns(field, "")])


def _columns(field: pa.Field, within: str) -> Iterator[dg.TableColumn]:
    name = f"{within}{field.name}"
    nested = pa.types.is_struct(field.type)
    yield dg.TableColumn(name, "struct" if nested else str(field.type), description=meaning(field))
    if nested:
        for place in range(field.type.num_fields):
            yield from _columns(field.type.field(place), f"{name}.")


def _table(rows: Sequence[Mapping[str, str | int]]) -> dg.TableMetadataValue:
    columns = [dg.TableColumn(name, "int" if isinstance(value, int) else "string") for name, value in rows[0].items()]
    return dg.MetadataValue.table([dg.TableRecord(row) for row in rows], schema=dg.TableSchema(columns))


def _stored(histogram: Histogram) -> dict[str, Any]:
    """The numbers of a histogram, for whoever draws or compares them later."""
    return {
        "edges": [float(f"{edge:.{_DIGITS}g}") for edge in histogram.edges.tolist()],
        "counts": {series: counts.tolist() for series, counts in histogram.counts.items()},
        "marks": dict(histogram.marks),
    }
