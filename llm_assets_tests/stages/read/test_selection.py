from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.stages.read.records import RAW_LIMIT

Read = Callable[..., Any]
RECORDS = [
    {"id": "a", "title": "Größe", "doc": {"text": "one", "id": 7, "url": "x"}, "n": 1},
    {"id": "b", "title": None, "doc": {"text": "two", "id": None, "url": None}, "n": 2},
    {"id": "c", "title": "three", "doc": {"text": None, "id": 9, "url": "z"}, "n": 3},
    {"id": "d", "title": None, "doc": None, "n": 4},
]


def in_every_format(records: list[dict[str, Any]]) -> dict[str, bytes]:
    """The same records as files of all formats that can hold them."""
    table = pa.Table.from_pylist(records)
    parquet, arrow = pa.BufferOutputStream(), pa.BufferOutputStream()
    pq.write_table(table, parquet)
    with pa.ipc.new_file(arrow, table.schema) as writer:
        writer.write_table(table)
    return {
        "a.jsonl": b"".join(json.dumps(record).encode() + b"\n" for record in records),
        "a.json": json.dumps(records, indent=1).encode(),
        "a.parquet": parquet.getvalue().to_pybytes(),
        "a.arrow": arrow.getvalue().to_pybytes(),
    }


def rows(result: Any) -> list[tuple[Any, ...]]:
    found = sorted(result.kept + result.quarantined, key=lambda row: row["record"])
    return [(row["text"] or row["error"], row["id"], json.loads(row["metadata"] or "null")) for row in found]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.parquet", "a.arrow"])
@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (
            {"text_field": "doc.text", "id_field": "doc.id", "metadata": ["n", "doc.url", "nothing"]},
            [
                ("one", "7", {"n": 1, "doc.url": "x"}),
                ("two", None, {"n": 2, "doc.url": None}),
                ("missing_text", "9", None),
                ("missing_text", None, None),
            ],
        ),
        (
            {"text_field": ["title", "doc.text"], "metadata": "none"},
            [("Größe\n\none", "a", None), ("two", "b", None), ("three", "c", None), ("missing_text", "d", None)],
        ),
        (
            {"text_field": ["title", "doc.text"], "template": "{{{title}}}: {doc.text}!", "metadata": ["title"]},
            [
                ("{Größe}: one!", "a", {"title": "Größe"}),
                ("{}: two!", "b", {"title": None}),
                ("{three}: !", "c", {"title": "three"}),
                ("missing_text", "d", None),
            ],
        ),
    ],
)
def test_text_id_and_metadata_are_chosen_alike_in_every_format(
    read_bytes: Read, name: str, parameters: dict[str, Any], expected: list[Any]
) -> None:
    found = rows(read_bytes({name: in_every_format(RECORDS)[name]}, **parameters))
    assert [row if row[0] != "missing_text" else (*row[:2], None) for row in found] == expected


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.parquet", "a.arrow"])
def test_what_is_left_of_an_object_is_metadata(read_bytes: Read, name: str) -> None:
    records = [{"doc": {"text": "one", "url": "x"}, "only": {"id": "k"}, "n": 1}]
    (row,) = read_bytes({name: in_every_format(records)[name]}, text_field="doc.text", id_field="only.id").kept
    assert (row["text"], row["id"], json.loads(row["metadata"])) == ("one", "k", {"doc": {"url": "x"}, "n": 1})


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.parquet", "a.arrow"])
def test_a_field_whose_name_has_a_dot_comes_before_a_path(read_bytes: Read, name: str) -> None:
    records = [{"doc.text": "flat", "doc": {"text": "nested"}}]
    (row,) = read_bytes({name: in_every_format(records)[name]}, text_field="doc.text").kept
    assert (row["text"], json.loads(row["metadata"])) == ("flat", {"doc": {"text": "nested"}})


def test_columns_of_a_delimited_file_are_joined_too(read_bytes: Read) -> None:
    data = b"title,body,n\nT,one,1\n,two,2\n"
    result = read_bytes({"a.csv": data}, text_field=["title", "body"], template="{title}/{body}", metadata="none")
    assert result.texts == ["T/one", "/two"] and result.kept[0]["metadata"] is None


def test_a_field_that_is_no_text_is_not_joined(read_bytes: Read) -> None:
    result = read_bytes({"a.jsonl": b'{"a":"x","b":7}\n'}, text_field=["a", "b"])
    assert result.errors == ["text_not_string"]
    assert result.quarantined[0]["error_detail"] == "field 'b' is a JSON number"


def test_long_numbers_stay_exact_in_chosen_metadata(read_bytes: Read) -> None:
    line = b'{"text":"t","m":{"n":123456789012345678901234567890},"k":1}\n'
    (row,) = read_bytes({"a.jsonl": line}, metadata=["m.n"]).kept
    assert row["metadata"] == '{"m.n":123456789012345678901234567890}'


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_metadata_and_id_of_a_quarantined_row_are_cut_like_its_bytes(read_bytes: Read, name: str) -> None:
    records = [{"text": " ", "id": "ü" * 100_000, "m": "é" * 100_000}]
    (row,) = read_bytes({name: in_every_format(records)[name]}).quarantined
    assert row["error"] == "empty_document"
    assert RAW_LIMIT - 4 < len(row["metadata"].encode()) <= RAW_LIMIT and row["metadata"].startswith('{"m":"é')
    assert RAW_LIMIT - 4 < len(row["id"].encode()) <= RAW_LIMIT


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"text_field": []}, "empty"),
        ({"text_field": ["a", "a"]}, "twice"),
        ({"text_field": ["a", "id"]}, "both 'id'"),
        ({"text_field": ["a", "b"], "template": "{a}"}, "template uses"),
        ({"text_field": ["a"], "template": "{a} {b}"}, "template uses"),
        ({"text_field": ["a"], "template": "{a"}, "braces"),
        ({"text_field": ["a"], "template": "{a!r}"}, "only names"),
        ({"metadata": "some"}, "metadata"),
        ({"unit": "page"}, "unit"),
        ({"encoding": "klingon"}, "no encoding"),
        ({"encoding": "base64"}, "no encoding"),
        ({"formats": {"log": ".txt"}}, "begins with a dot"),
        ({"formats": {".log": ".pdf"}}, "no reader for '.pdf'"),
    ],
)
def test_settings_that_make_no_sense_say_why(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        ReadParameters.model_validate(fields)
