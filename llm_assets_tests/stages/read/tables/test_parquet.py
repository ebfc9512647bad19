from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.stages.read.records import document_id
from llm_assets.stages.read.tables import plan as plan_module
from llm_assets.stages.read.tables.parquet import read_parquet
from llm_assets.store.ledger import Count

Read = Callable[..., Any]


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, **options)
    return buffer.getvalue()


def not_utf8(values: list[bytes | None], kind: pa.DataType | None = None) -> pa.Array:
    array = pa.array(values, pa.binary() if kind != pa.large_string() else pa.large_binary())
    return array.view(kind or pa.string())


TEXT_TYPES = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]


@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
def test_text_columns_of_every_string_type(read_bytes: Read, kind: pa.DataType) -> None:
    texts = ["one", "é 😀", None, "one", " \n", ""]
    data = parquet({"text": pa.array(texts, pa.string()).cast(kind)}, row_group_size=4)
    result = read_bytes({"a.parquet": data})
    assert [(row["record"], row["text"]) for row in result.kept] == [(1, "one"), (2, "é 😀"), (4, "one")]
    assert [(row["record"], row["error"]) for row in result.quarantined] == [
        (3, "missing_text"),
        (5, "empty_document"),
        (6, "empty_document"),
    ]
    assert all(row["byte_offset"] is None for row in result.kept + result.quarantined)
    assert [row["raw"] for row in result.quarantined] == [b'{"text":null}', b" \n", b""]


def test_own_ids_and_metadata(read_bytes: Read) -> None:
    data = parquet({"id": [7, None], "text": ["a", "b"], "z": [1.5, None], "k": [{"y": 1, "x": [None]}, None]})
    result = read_bytes({"a.parquet": data})
    assert [row["id"] for row in result.kept] == ["7", None]
    assert [row["metadata"] for row in result.kept] == ['{"k":{"x":[null],"y":1},"z":1.5}', '{"k":null,"z":null}']
    assert [row["doc_id"] for row in result.kept] == [document_id("7", b"a"), document_id(None, b"b")]


def test_a_table_with_nothing_but_text_has_no_metadata(read_bytes: Read) -> None:
    (row,) = read_bytes({"a.parquet": parquet({"text": ["a"]})}).kept
    assert row["metadata"] is None and row["id"] is None


def test_a_file_without_the_text_column_is_one_entry_for_all_its_rows(read_bytes: Read) -> None:
    data = parquet({"body": [f"row {number}" for number in range(3000)], "id": list(range(3000))}, row_group_size=1000)
    result = read_bytes({"a.parquet": data, "b.txt": b"neighbour"})
    (row,) = result.quarantined
    assert (row["record"], row["error"], row["records"]) == (1, "missing_text", 3000)
    assert row["error_detail"] == "the file has no column 'text'; it has: body, id"
    assert result.ledger.quarantined["missing_text"] == Count(3000, len(data))
    assert result.texts == ["neighbour"]


@pytest.mark.parametrize("values", [[1, None], [["a"], None], [{"a": "b"}, None]])
def test_a_text_column_of_another_type_is_one_entry_for_all_rows(read_bytes: Read, values: list[Any]) -> None:
    result = read_bytes({"a.parquet": parquet({"text": values})})
    (row,) = result.quarantined
    assert (row["error"], row["records"]) == ("text_not_string", 2)
    assert "column 'text' is of type" in row["error_detail"]


BYTES_TYPES = [pa.binary(), pa.large_binary(), pa.binary(2), pa.dictionary(pa.int8(), pa.binary())]


@pytest.mark.parametrize("kind", BYTES_TYPES, ids=str)
def test_columns_of_bytes_that_hold_utf8_are_text(read_bytes: Read, kind: pa.DataType) -> None:
    values = pa.array(["é".encode(), None, b"\xc3\x28", b"  "], pa.binary()).cast(kind)
    result = read_bytes({"a.parquet": parquet({"text": values})})
    assert result.texts == ["é"]
    assert [(row["record"], row["error"]) for row in result.quarantined] == [
        (2, "missing_text"),
        (3, "invalid_utf8"),
        (4, "empty_document"),
    ]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_invalid_utf8_in_the_text_costs_its_row_alone(read_bytes: Read, kind: pa.DataType) -> None:
    texts = not_utf8([b"good", b"caf\xe9", None, b"\xed\xa0\x80", "é".encode()], kind)
    result = read_bytes({"a.parquet": parquet({"text": texts, "n": list(range(5))})})
    assert result.texts == ["good", "é"]
    assert [(row["record"], row["error"], row["raw"]) for row in result.quarantined] == [
        (2, "invalid_utf8", b"caf\xe9"),
        (3, "missing_text", b'{"n":2,"text":null}'),
        (4, "invalid_utf8", b"\xed\xa0\x80"),
    ]
    assert result.quarantined[0]["metadata"] == '{"n":1}'


def test_halves_of_a_character_in_neighbouring_rows_are_invalid(read_bytes: Read) -> None:
    result = read_bytes({"a.parquet": parquet({"text": not_utf8([b"caf\xc3", b"\xa9"])})})
    assert result.errors == ["invalid_utf8", "invalid_utf8"]


def test_invalid_utf8_in_other_columns_costs_its_row_alone(read_bytes: Read) -> None:
    url = not_utf8([b"a", b"b\xff", b"c"])
    nested = pa.StructArray.from_arrays([not_utf8([b"x", b"y", b"z\xfe"])], ["s"])
    result = read_bytes({"a.parquet": parquet({"text": ["t1", "t2", "t3"], "url": url, "nested": nested})})
    assert result.texts == ["t1"]
    assert result.errors == ["invalid_utf8", "invalid_utf8"]
    assert [row["error_detail"] for row in result.quarantined] == [
        "column 'url': invalid start byte at byte 1",
        "column 'nested': invalid start byte at byte 1",
    ]
    assert json.loads(result.quarantined[0]["raw"]) == {"nested": {"s": "y"}, "text": "t2", "url": "b\\xff"}


def test_invalid_utf8_in_the_id_costs_its_row_alone(read_bytes: Read) -> None:
    result = read_bytes({"a.parquet": parquet({"text": ["t1", "t2"], "id": not_utf8([b"\xff", b"b"])})})
    assert [(row["record"], row["id"]) for row in result.kept] == [(2, "b")]
    assert [(row["record"], row["id"], row["error"]) for row in result.quarantined] == [(1, None, "invalid_utf8")]


def damaged_group(compression: str = "zstd") -> bytes:
    """Three row groups of 100 rows; the second one's text column is overwritten."""
    texts = [f"text number {number}" for number in range(300)]
    data = bytearray(parquet({"text": texts}, row_group_size=100, compression=compression, use_dictionary=False))
    column = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(1).column(0)
    end = column.data_page_offset + column.total_compressed_size
    data[column.data_page_offset : end] = b"\xff" * column.total_compressed_size
    return bytes(data)


def test_a_row_group_that_cannot_be_decoded_is_one_row_and_later_ones_are_read(read_bytes: Read) -> None:
    result = read_bytes({"a.parquet": damaged_group()})
    assert [row["record"] for row in result.kept] == [*range(1, 101), *range(201, 301)]
    (row,) = result.quarantined
    assert (row["record"], row["error"], row["records"], row["raw"]) == (101, "corrupt_file", 100, b"")
    assert row["error_detail"].startswith("row group 2 of 3, 100 rows from row 101 on: ")
    assert result.ledger.quarantined["corrupt_file"].documents == 100
    assert result.ledger.quarantined["corrupt_file"].bytes > 0


def test_of_a_damaged_group_the_rows_before_the_damage_are_read(
    read_bytes: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_module, "ROWS", (64,))
    texts = [f"{number:08}" for number in range(10_000)]
    options = {"use_dictionary": False, "compression": "none", "data_page_size": 4096, "write_page_checksum": True}
    data = bytearray(parquet({"text": texts}, **options))
    place = data.index(b"00005000")
    data[place] ^= 1
    result = read_bytes({"a.parquet": bytes(data)})
    (row,) = result.quarantined
    assert row["error"] == "corrupt_file" and "CRC" in row["error_detail"]
    assert 2_000 < len(result.kept) < 5_000
    assert result.texts == texts[: len(result.kept)]
    assert (row["record"], row["records"]) == (len(result.kept) + 1, 10_000 - len(result.kept))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "empty_file"),
        (b"PAR", "truncated_file"),
        (b"PAR1", "truncated_file"),
        (b"PAR1PAR1", "truncated_file"),
        (parquet({"text": ["a"]})[:-1], "truncated_file"),
        (parquet({"text": ["a"]})[:200], "truncated_file"),
        (parquet({"text": ["a"]})[:-12] + b"\xff" * 8 + b"PAR1", "corrupt_file"),
        (b"PAR1" + b"\0" * 8 + b"PAR1", "corrupt_file"),
        (b'{"text":"a"}\n' * 5, "wrong_format"),
        (b"\x1f\x8b\x08\0", "wrong_format"),
        (parquet({"text": pa.array([], pa.string())}), "empty_file"),
    ],
)
def test_files_of_which_nothing_can_be_read(read_bytes: Read, data: bytes, error: str) -> None:
    result = read_bytes({"a.parquet": data})
    (row,) = result.quarantined
    assert (row["error"], row["record"], row["byte_offset"], row["records"]) == (error, 1, None, 1)
    assert row["raw"] == data[: 64 << 10]
    assert result.ledger.quarantined[error].bytes == len(data)


class FailingFile(io.BytesIO):
    """A file whose connection breaks behind its footer's reading."""

    failing = False

    def read(self, size: int | None = -1) -> bytes:
        if self.failing:
            raise ConnectionResetError(104, "Connection reset by peer")
        return super().read(size)


def test_a_read_that_fails_is_no_damage() -> None:
    file = FailingFile(parquet({"text": ["a"] * 10}, row_group_size=5))
    records = read_parquet(file, ReadParameters())
    assert next(records).record == 1
    file.failing = True
    with pytest.raises(ConnectionResetError):
        list(records)


@pytest.mark.parametrize("rows_per_batch", [1, 3, 1024])
def test_batch_sizes_change_nothing(read_bytes: Read, monkeypatch: pytest.MonkeyPatch, rows_per_batch: int) -> None:
    numbers = range(50)
    columns = {
        "text": not_utf8([b"\xff" if number % 7 == 3 else b"text %d" % number for number in numbers]),
        "m": [[number] * (number % 3) for number in numbers],
    }
    data = parquet(columns, row_group_size=20)
    expected = read_bytes({"a.parquet": data})
    monkeypatch.setattr(plan_module, "ROWS", (rows_per_batch,))
    assert read_bytes({"a.parquet": data}) == expected


def test_parquet_files_of_many_writers(read_bytes: Read, test_data: Path) -> None:
    """Every row the file speaks of is a row or stands in one, whatever its types and whoever wrote it."""
    errors: dict[str, str] = {}
    paths = sorted((test_data / "parquet-testing").glob("*.parquet"))
    for path in paths:
        data = path.read_bytes()
        result = read_bytes({path.name: data}, text_field=text_column(data), id_field="no such column")
        for row in result.quarantined:
            if row["error"] not in ("missing_text", "empty_document", "invalid_utf8", "empty_file"):
                errors[path.name] = row["error"]
        assert result.ledger.incoming.documents == (rows_in_groups(data) or 1), path.name
    assert len(paths) > 50
    assert errors == {
        "incorrect_map_schema.parquet": "unsupported",
        "rle-dict-uncompressed-corrupt-checksum.parquet": "corrupt_file",
    }


def text_column(data: bytes) -> str:
    """The first column of strings or bytes."""
    try:
        schema = pq.ParquetFile(io.BytesIO(data)).schema_arrow
    except pa.ArrowException:
        return "text"
    return next((field.name for field in schema if field.type in (pa.string(), pa.binary())), "text")


def rows_in_groups(data: bytes) -> int:
    try:
        metadata = pq.ParquetFile(io.BytesIO(data)).metadata
    except pa.ArrowException:
        return 0
    return sum(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))


SOURCE = parquet(
    {
        "id": list(range(60)),
        "text": [f"tèxt {number} " * (number % 7) for number in range(60)],
        "m": [{"a": [number, None], "b": str(number)} for number in range(60)],
    },
    row_group_size=20,
    data_page_size=200,
)


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(4, len(SOURCE) - 13), st.integers(0, 255)), min_size=1, max_size=3))
def test_damage_anywhere_before_the_footer_loses_no_row(read_bytes: Read, edits: list[tuple[int, int]]) -> None:
    footer = len(SOURCE) - 8 - int.from_bytes(SOURCE[-8:-4], "little")
    data = bytearray(SOURCE)
    for place, value in edits:
        data[4 + place % (footer - 4)] = value
    result = read_bytes({"a.parquet": bytes(data)})
    assert result.ledger.incoming.documents == 60


@settings(max_examples=150)
@given(st.integers(4, len(SOURCE) - 5), st.integers(0, 255))
def test_damage_in_the_footer_ends_in_a_declared_error(read_bytes: Read, place: int, value: int) -> None:
    footer = len(SOURCE) - 8 - int.from_bytes(SOURCE[-8:-4], "little")
    data = bytearray(SOURCE)
    data[footer + place % (len(SOURCE) - 4 - footer)] = value
    result = read_bytes({"a.parquet": bytes(data)})
    assert result.kept or result.quarantined
