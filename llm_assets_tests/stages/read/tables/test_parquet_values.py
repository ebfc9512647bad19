"""Values of Parquet files, judged row by row by what pyarrow makes of a single row, and dates by their definition."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.stages.read.selection import Selection
from llm_assets.stages.read.tables import plan as plan_module
from llm_assets.stages.read.tables.batches import Rows, records_of
from llm_assets.stages.read.tables.columns import json_values
from llm_assets.stages.read.tables.parquet import ParquetTable

Read = Callable[..., Any]


def parquet(table: pa.Table, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def as_json(value: Any) -> Any:
    """Oracle: a value that pyarrow gives, in the form in which metadata hold it."""
    if isinstance(value, dict):
        return {key: as_json(each) for key, each in value.items()}
    if isinstance(value, list):
        pairs = bool(value) and all(isinstance(each, tuple) for each in value)
        return [{"key": as_json(k), "value": as_json(v)} for k, v in value] if pairs else [as_json(v) for v in value]
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    return value


LEAVES: list[tuple[Any, Any]] = [
    (pa.string(), st.text("ab é語😀\n", max_size=6)),
    (pa.large_string(), st.sampled_from(["same", "", "other"])),
    (pa.binary(), st.binary(max_size=5)),
    (pa.binary(3), st.binary(min_size=3, max_size=3)),
    (pa.int8(), st.integers(-128, 127)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1) | st.just(7)),
    (pa.uint32(), st.integers(0, 2**32 - 1)),
    (pa.float64(), st.floats(allow_nan=True)),
    (pa.bool_(), st.booleans()),
    (pa.date32(), st.dates()),
    (pa.timestamp("us"), st.datetimes()),
    (pa.decimal128(9, 2), st.decimals(-99, 99, places=2)),
]


@st.composite
def columns(draw: st.DrawFn, rows: int) -> pa.Array:
    """A column of some type, flat or nested, with nulls."""
    kind, values = draw(st.sampled_from(LEAVES))
    shape = draw(st.sampled_from(["flat", "list", "list of lists", "struct", "map", "list of structs"]))
    leaf = st.none() | values
    lists = st.none() | st.lists(leaf, max_size=4)
    if shape == "list":
        kind, leaf = pa.list_(kind), lists
    elif shape == "list of lists":
        kind, leaf = pa.list_(pa.list_(kind)), st.none() | st.lists(lists, max_size=3)
    elif shape == "struct":
        kind, leaf = pa.struct([("a", kind), ("b", pa.int32())]), st.none() | st.fixed_dictionaries({"a": leaf})
    elif shape == "map":
        pairs = st.tuples(st.sampled_from("kl"), leaf)
        kind, leaf = pa.map_(pa.string(), kind), st.none() | st.lists(pairs, max_size=3)
    elif shape == "list of structs":
        kind, leaf = pa.list_(pa.struct([("a", kind)])), st.lists(st.fixed_dictionaries({"a": leaf}), max_size=3)
    return pa.array(draw(st.lists(leaf, min_size=rows, max_size=rows)), kind)


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.integers(1, 12))
    named = {name: draw(columns(rows)) for name in draw(st.sampled_from(["m", "mn"]))}
    return pa.table({"text": [f"text {row}" for row in range(rows)], **named})


WRITING = st.fixed_dictionaries(
    {
        "compression": st.sampled_from(["none", "snappy", "gzip", "zstd", "brotli", "lz4"]),
        "use_dictionary": st.booleans(),
        "data_page_version": st.sampled_from(["1.0", "2.0"]),
        "data_page_size": st.sampled_from([1, 100, 1 << 20]),
        "write_batch_size": st.sampled_from([1, 2, 1024]),
        "row_group_size": st.sampled_from([1, 5, 1000]),
        "store_schema": st.booleans(),
    }
)


@settings(max_examples=250, deadline=None)
@given(tables(), WRITING, st.booleans())
def test_every_value_is_what_pyarrow_makes_of_it_by_rows(
    read_bytes: Read, table: pa.Table, options: dict[str, Any], is_careful: bool
) -> None:
    data = parquet(table, **options)
    try:
        read = pq.ParquetFile(io.BytesIO(data)).read()
    except pa.ArrowInvalid:
        read = table.slice(0, 0)
    assume(read.num_rows == table.num_rows)  # not so where the writer left pages without values
    rows = [row for number in range(table.num_rows) for row in read.slice(number, 1).to_pylist()]
    with pytest.MonkeyPatch.context() as patch:
        if is_careful:  # as where much comes of little: every page is looked at, rows are decoded one by one
            patch.setattr(plan_module, "_MUCH", -1)
            patch.setattr(plan_module, "BATCH_BYTES", 0)
        result = read_bytes({"a.parquet": data})
    assert [row["text"] for row in result.kept] == [row.pop("text") for row in rows] and not result.quarantined
    for row, expected in zip(result.kept, rows, strict=True):
        assert json.loads(row["metadata"]) == as_json(expected)


def test_pages_without_values_are_no_damage(read_bytes: Read) -> None:
    """What pyarrow writes with a tiny page size, and does not read."""
    lists = pa.array([None], pa.list_(pa.string()))
    data = parquet(pa.table({"text": ["t"], "m": lists}), data_page_size=1, write_batch_size=1)
    result = read_bytes({"a.parquet": data})
    assert result.errors == ["unsupported"] and result.ledger.incoming.documents == 1


MOMENTS = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59))
NANOSECONDS = st.integers(-(2**63), 2**63 - 1)


@settings(max_examples=60)
@given(st.lists(st.none() | MOMENTS, min_size=1, max_size=5), st.booleans())
def test_int96_holds_all_years(read_bytes: Read, moments: list[datetime | None], dictionary: bool) -> None:
    """By definition: a Julian day and the nanoseconds of the day."""
    times = pa.array(moments, pa.timestamp("us"))
    nested = pa.array([{"at": moment, "many": [moment, None]} for moment in moments],
                      pa.struct([("at", times.type), ("many", pa.list_(times.type)), ]))  # fmt: skip
    data = parquet(
        pa.table({"text": ["t"] * len(moments), "at": times, "in": nested}),
        use_deprecated_int96_timestamps=True,
        use_dictionary=dictionary,
    )
    result = read_bytes({"a.parquet": data})
    for row, moment in zip(result.kept, moments, strict=True):
        text = None if moment is None else moment.isoformat(timespec="microseconds") + "000"
        assert json.loads(row["metadata"]) == {"at": text, "in": {"at": text, "many": [text, None]}}


@settings(max_examples=60)
@given(st.lists(NANOSECONDS, min_size=1, max_size=5))
def test_int96_holds_nanoseconds(read_bytes: Read, counts: list[int]) -> None:
    times = pa.array(counts, pa.timestamp("ns"))
    data = parquet(pa.table({"text": ["t"] * len(counts), "at": times}), use_deprecated_int96_timestamps=True)
    for row, count in zip(read_bytes({"a.parquet": data}).kept, counts, strict=True):
        seconds, fraction = divmod(count, 10**9)
        moment = datetime(1970, 1, 1) + timedelta(seconds=seconds)
        assert json.loads(row["metadata"])["at"] == f"{moment.isoformat(timespec='seconds')}.{fraction:09}"


def test_dates_beyond_2262_that_another_writer_left(read_bytes: Read, test_data: Path) -> None:
    data = (test_data.parent / "cases/data/02-int96-beyond-2262.parquet").read_bytes()
    found = [json.loads(row["metadata"])["published"] for row in read_bytes({"a.parquet": data}).kept]
    assert found == ["9999-12-31T00:00:00.000000000", "1500-01-01T12:00:00.000000000", "2020-01-01T00:00:00.000000000"]


UNREADABLE = {
    "incorrect_map_schema.parquet": "Arrow does not read it",
    "large_string_map.brotli.parquet": "a key of 1 GiB in 4 kB",
    "datapage_v1-corrupt-checksum.parquet": "corrupt",
    "rle-dict-uncompressed-corrupt-checksum.parquet": "corrupt",
}


def test_every_value_of_the_files_of_many_writers(test_data: Path) -> None:
    """Whatever column is the text: the decoded rows, as values, against pyarrow's, row by row."""
    paths = [each for each in sorted((test_data / "parquet-testing").glob("*.parquet")) if each.name not in UNREADABLE]
    selection = Selection(ReadParameters())
    for path in paths:
        with path.open("rb") as file:
            table = ParquetTable(file, selection)
            seen = 0
            expected = pq.read_table(path)
            for number, group in enumerate(table.groups):
                for batch, seconds in table.batches(number):
                    assert sum(1 for _ in records_of(Rows(batch, seen, table.stored(group), seconds), selection))
                    same_as(batch, expected.slice(seen, batch.num_rows), path.name)
                    seen += batch.num_rows
            assert seen == expected.num_rows, path.name
    assert len(paths) > 50


def same_as(batch: pa.RecordBatch, expected: pa.Table, name: str) -> None:
    for column in batch.schema.names:
        for row in range(min(batch.num_rows, 200)):
            one = expected[column].slice(row, 1).combine_chunks()
            one = one.chunk(0) if isinstance(one, pa.ChunkedArray) else one
            assert json_values(batch[column].slice(row, 1)) == json_values(one), (name, column, row)
