"""Metadata of a partition: what is known is there, what is not known is absent, and it is small."""

from __future__ import annotations

import json

import dagster as dg
import numpy as np
import pyarrow as pa

from llm_assets.components.presentation.metadata import column_schema, ledger_table, partition_metadata
from llm_assets.contract.histograms import Histogram, ValueRange
from llm_assets.contract.link import Description
from llm_assets.kernels.arrow import column
from llm_assets.stages.clean.columns import CLEANED_SCHEMA
from llm_assets.stages.dedup.columns import VERDICT_SCHEMA
from llm_assets.stages.mix.version.provenance import MIX_PROVENANCE_SCHEMA
from llm_assets.stages.pack.columns import PROVENANCE_SCHEMA
from llm_assets.stages.read.rows import RAW_SCHEMA
from llm_assets.store.ledger import Count, Ledger
from llm_assets.store.manifest import Manifest
from llm_assets.store.token_schema import token_schema

LEDGER = Ledger(Count(100), Count(60), Count(60), {"short": Count(35)}, {"broken": Count(5)})
SCHEMAS = {
    "raw": RAW_SCHEMA,
    "cleaned": CLEANED_SCHEMA,
    "verdicts": VERDICT_SCHEMA,
    "tokens": token_schema("uint16"),
    "provenance": PROVENANCE_SCHEMA,
    "provenance of a mixture": MIX_PROVENANCE_SCHEMA,
}


def metadata(ledger: Ledger = LEDGER, seconds: float = 2.0, **fields: object) -> dict[str, object]:
    manifest = Manifest("web/cleaned", "s", "g", "1", {}, "d", ledger)
    description = Description(60, 1, pa.schema([("text", pa.string())]), **fields)  # type: ignore[arg-type]
    return partition_metadata(manifest, description, "uri", seconds)


def histogram() -> Histogram:
    values = np.array([0, 1, 5, 7, 50, 80_000])
    made = Histogram.empty(ValueRange().including(values), ["kept", "rejected"], {"min_words, at least 50": 50.0})
    made.add("kept", values[4:])
    made.add("rejected", values[:4])
    return made


def test_one_report_and_the_numbers_of_its_plots() -> None:
    found = metadata(histograms={f"Documents by {place}": histogram() for place in range(8)})
    report, stored = found["report"], found["histograms"]
    assert isinstance(report, dg.MarkdownMetadataValue) and isinstance(stored, dg.JsonMetadataValue)
    assert report.md_str is not None and report.md_str.count("data:image/svg+xml;base64,") == 9
    assert [name for name, value in found.items() if isinstance(value, dg.MarkdownMetadataValue)] == ["report"]
    assert len(report.md_str) < 30_000 and len(json.dumps(stored.data)) < 8_000
    numbers = stored.data["Documents by 3"]  # type: ignore[index]
    made = histogram()
    assert numbers["counts"] == {name: counts.tolist() for name, counts in made.counts.items()}
    assert np.allclose(numbers["edges"], made.edges, rtol=1e-5) and numbers["marks"] == made.marks


def test_what_is_not_known_is_absent() -> None:
    nothing = Ledger()
    found = metadata(
        nothing,
        values={"drop_rate": nothing.share(nothing.dropped_total), "tokens": 0},
        samples={"kept": []},
        tables={"pii": []},
    )
    assert found["tokens"] == 0
    assert not {"drop_rate", "bytes_per_second", "report", "histograms", "sample_kept", "pii"} & found.keys()


def test_speed_is_what_was_worked_through_by_the_second() -> None:
    assert metadata(worked_bytes=500, seconds=2.0)["bytes_per_second"] == 250
    assert "bytes_per_second" not in metadata(worked_bytes=0)


def test_tables_tell_numbers_from_words() -> None:
    rows = [{"language": "en", "kept": 3}, {"language": "de", "kept": 1}]
    languages = metadata(tables={"languages": rows})["languages"]
    assert isinstance(languages, dg.TableMetadataValue)
    assert [column.type for column in languages.schema.columns] == ["string", "int"]
    assert [record.data for record in languages.records] == rows


def test_a_ledger_has_the_units_that_apply() -> None:
    incoming, kept = Count(rows=7, bytes=28, tokens=14), Count(rows=4, bytes=16, tokens=8)
    ledger = Ledger(incoming=incoming, kept=kept, output=kept, dropped={"over_share:docs": incoming + kept * -1})
    table = ledger_table(ledger)
    assert [column.name for column in table.schema.columns] == ["entry", "reason", "rows", "bytes", "tokens"]
    assert table.records[0].data == {"entry": "in", "reason": "", "rows": 7, "bytes": 28, "tokens": 14}


def test_every_column_says_what_it_is() -> None:
    for name, schema in SCHEMAS.items():
        undescribed = [each.name for each in column_schema(schema).columns if not each.description]
        assert not undescribed, f"{name}: {undescribed}"


def test_fields_of_a_struct_are_columns_of_their_own() -> None:
    inner = pa.struct([column("a", pa.int64(), "the a"), column("b", pa.struct([("c", pa.string())]), "the b")])
    columns = column_schema(pa.schema([column("x", inner, "the x"), ("y", pa.int8())])).columns
    assert [(each.name, each.type, each.description) for each in columns] == [
        ("x", "struct", "the x"),
        ("x.a", "int64", "the a"),
        ("x.b", "struct", "the b"),
        ("x.b.c", "string", None),
        ("y", "int8", None),
    ]
