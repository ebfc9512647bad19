from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.store.ledger import Count

Read = Callable[..., Any]
TABLE = pa.table(
    {
        "id": pa.array(range(30)),
        "text": [f"tèxt {number}" for number in range(30)],
        "m": [[number] * (number % 3) for number in range(30)],
        "d": pa.array(["a", "b", None] * 10).dictionary_encode(),
    }
)


def written(table: pa.Table, form: str = "file", rows: int = 10, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    make = pa.ipc.new_file if form == "file" else pa.ipc.new_stream
    with make(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=rows)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("name", ["a.arrow", "a.feather", "A.FEATHER"])
@pytest.mark.parametrize("form", ["file", "stream"])
@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_files_and_streams_are_read_row_by_row(read_bytes: Read, name: str, form: str, compression: str | None) -> None:
    result = read_bytes({name: written(TABLE, form, compression=compression)})
    assert result.texts == TABLE["text"].to_pylist()
    assert [(row["record"], row["byte_offset"], row["id"]) for row in result.kept] == [
        (number + 1, None, str(number)) for number in range(30)
    ]
    expected = [{"m": row["m"], "d": row["d"]} for row in TABLE.to_pylist()]
    assert [json.loads(row["metadata"]) for row in result.kept] == expected


def test_only_the_columns_asked_for_are_decoded(read_bytes: Read) -> None:
    """A column of a type that is not read is no obstacle where nobody asks for it."""
    result = read_bytes({"a.arrow": written(TABLE)}, metadata=["d"])
    assert json.loads(result.kept[0]["metadata"]) == {"d": "a"}


@settings(max_examples=100)
@given(st.integers(1, 100_000), st.sampled_from(["file", "stream"]))
def test_of_a_cut_file_the_whole_batches_are_read_and_the_cut_shows(read_bytes: Read, left: int, form: str) -> None:
    data = written(TABLE, form)
    end_of_stream = 8 if form == "stream" else 0
    cut = data[: left % (len(data) - end_of_stream)]
    result = read_bytes({"a.arrow": cut})
    assert result.texts == TABLE["text"].to_pylist()[: len(result.texts)] and len(result.texts) % 10 == 0
    is_whole_stream = form == "stream" and not result.errors
    assert is_whole_stream or result.errors[0] in ("truncated_file", "corrupt_file", "wrong_format", "empty_file")


def test_damage_is_told_of(read_bytes: Read) -> None:
    """Offsets that lead out of the text: reading them as they stand would read other memory."""
    data = bytearray(written(pa.table({"text": ["abcdefgh"] * 16})))
    place = data.index((8).to_bytes(4, "little") + (16).to_bytes(4, "little"))
    data[place : place + 4] = b"\xff\xff\xff\x7f"
    result = read_bytes({"a.arrow": bytes(data)})
    assert result.errors == ["corrupt_file"] and result.ledger.incoming.documents == 16


def test_invalid_utf8_costs_its_row(read_bytes: Read) -> None:
    texts = pa.array([b"good", b"caf\xe9", "é".encode()]).view(pa.string())
    result = read_bytes({"a.arrow": written(pa.table({"text": texts, "n": [1, 2, 3]}))})
    assert result.texts == ["good", "é"]
    assert [(row["record"], row["error"], row["raw"]) for row in result.quarantined] == [
        (2, "invalid_utf8", b"caf\xe9")
    ]


def test_a_file_without_the_text_column_is_one_entry(read_bytes: Read) -> None:
    data = written(TABLE)
    result = read_bytes({"a.arrow": data}, text_field="body")
    (row,) = result.quarantined
    assert (row["error"], row["records"]) == ("missing_text", 30)
    assert result.ledger.quarantined["missing_text"] == Count(30, len(data))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "empty_file"),
        (b"FEA1 and more", "unsupported"),
        (b'{"text":"a"}', "wrong_format"),
        (b"ARROW1\0\0", "corrupt_file"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff", "corrupt_file"),
        (written(TABLE.slice(0, 0)), "empty_file"),
    ],
)
def test_files_of_which_nothing_can_be_read(read_bytes: Read, data: bytes, error: str) -> None:
    result = read_bytes({"a.arrow": data})
    assert [(row["error"], row["byte_offset"]) for row in result.quarantined] == [(error, None)]


def test_references_to_one_long_string_are_decoded_few_at_a_time(read_bytes: Read) -> None:
    long = "x" * 1_000_000
    values = pa.DictionaryArray.from_arrays(pa.array([0] * 300, pa.int32()), pa.array([long]))
    result = read_bytes({"a.arrow": written(pa.table({"text": [str(n) for n in range(300)], "d": values}), rows=300)})
    assert len(result.kept) == 300 and all(len(row["metadata"]) == len(long) + 8 for row in result.kept)
