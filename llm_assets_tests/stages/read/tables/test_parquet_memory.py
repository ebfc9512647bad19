"""Small files that become large: what stands once is told many times. The peak is that of the whole process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_assets_tests.stages.read.tables.measured import read_measured

PEAK_MB = 700
FILE_BYTES = 10_000
WRITTEN_PLAINLY = 120_000_000
"""Bytes of values that are made to be written; references to one value need not be."""

Bomb = tuple[dict[str, pa.Array], dict[str, Any]]
"""Columns, and how they are written."""


def texts(rows: int) -> pa.Array:
    return pa.array([f"text {row}" for row in range(rows)])


def repeated(value: object, kind: pa.DataType, times: int, as_references: bool) -> pa.Array:
    """The same value many times."""
    places = pa.repeat(pa.scalar(0, pa.int32()), times)
    references = pa.DictionaryArray.from_arrays(places, pa.array([value], kind))
    return references if as_references else references.dictionary_decode()


def in_lists(values: pa.Array, each: int) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(range(0, len(values) + 1, each), pa.int32()), values)


LEAVES = {"flat": "text", "bytes": "text", "list": "m.list.element", "struct": "m.s", "map": "m.key_value.key"}


def strings_in(shape: str, values: pa.Array, rows: int, each: int) -> dict[str, pa.Array]:
    """Columns of so many rows that hold the values, `each` in a row where a row can."""
    if shape in ("flat", "bytes"):
        return {"text": values}
    if shape == "struct":
        return {"text": texts(rows), "m": pa.StructArray.from_arrays([values], ["s"])}
    if shape == "list":
        return {"text": texts(rows), "m": in_lists(values, each)}
    offsets = pa.array(range(0, len(values) + 1, each), pa.int32())
    return {"text": texts(rows), "m": pa.MapArray.from_arrays(offsets, values, pa.repeat(pa.scalar(1), len(values)))}


OPTIONS = st.fixed_dictionaries(
    {"compression": st.sampled_from(["zstd", "brotli", "gzip"]), "data_page_version": st.sampled_from(["1.0", "2.0"])}
)
ROWS = st.sampled_from([1, 7, 300, 3000])


@st.composite
def long_strings(draw: st.DrawFn) -> Bomb:
    """One long string, told many times."""
    shape = draw(st.sampled_from(sorted(LEAVES)))
    length, rows = draw(st.sampled_from([10, 10_000, 1_000_000, 40_000_000, 110_000_000])), draw(ROWS)
    each = draw(st.sampled_from([1, 3, 50, 5000])) if shape in ("list", "map") else 1
    by_reference = draw(st.booleans())
    options: dict[str, Any] = {**draw(OPTIONS), "use_dictionary": by_reference}
    if not by_reference:
        rows = max(1, min(rows, WRITTEN_PLAINLY // length))
        each = max(1, min(each, WRITTEN_PLAINLY // (length * rows)))
        encoding = draw(st.sampled_from(["PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"]))
        options["column_encoding"] = {LEAVES[shape]: encoding}
    kind, value = (pa.binary(), b"x" * length) if shape == "bytes" else (pa.string(), "x" * length)
    return strings_in(shape, repeated(value, kind, rows * each, by_reference), rows, each), options


@st.composite
def long_lists(draw: st.DrawFn) -> Bomb:
    """Lists of one number, bool or null, told many times; lengths differ from row to row."""
    value = draw(st.sampled_from([pa.scalar(7), pa.scalar(True), pa.scalar(1.5), pa.scalar(None, pa.string())]))
    rows = draw(ROWS)
    longest = draw(st.sampled_from([10, 10_000, 10_000_000]))
    lengths = [longest if row == rows // 2 else row % 3 for row in range(rows)]
    offsets = [0]
    for length in lengths:
        offsets.append(offsets[-1] + length)
    column = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.repeat(value, offsets[-1]))
    return {"text": texts(rows), "m": column}, {**draw(OPTIONS), "use_dictionary": draw(st.booleans())}


@pytest.mark.slow
def test_any_small_file_is_read_in_bounded_memory(tmp_path: Path) -> None:
    rows: dict[str, int] = {}

    @settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(long_strings() | long_lists())
    def make(bomb: Bomb) -> None:
        columns, options = bomb
        path = tmp_path / f"{len(rows)}.parquet"
        pq.write_table(pa.table(columns), path, **options)
        if path.stat().st_size <= FILE_BYTES:
            rows[path.name] = len(columns["text"])

    make()
    assert len(rows) > 40
    for result in read_measured([tmp_path / name for name in rows]):
        assert result["documents"] == rows[result["name"]]
        assert result["peak"] <= PEAK_MB, result
        assert "corrupt_file" not in result["errors"]
