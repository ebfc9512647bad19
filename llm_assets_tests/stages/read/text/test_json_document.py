from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.stages.read.records import Kept, Quarantined
from llm_assets.stages.read.text import json_document as json_document_module
from llm_assets.stages.read.text.json_document import read_json

Read = Callable[..., Any]

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('a"\\[]{},\n é😀', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('t"{]', max_size=3), inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.fixed_dictionaries({"text": st.text('a"\\[]{},\n é😀', min_size=1, max_size=9)}, optional={"x": VALUES})
INDENT = st.sampled_from([None, 0, 2, "\t"])
SPACE = st.sampled_from(["", " ", "\n", "\r\n\t"])


def blocks(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def read(data: bytes, size: int = 1 << 20) -> list[Kept | Quarantined]:
    return list(read_json(blocks(data, size), ReadParameters()))


@settings(max_examples=200)
@given(st.lists(RECORDS, max_size=5), INDENT, SPACE, st.booleans(), st.integers(1, 9), st.booleans(), st.booleans())
def test_elements_of_an_array_are_records_however_it_is_written(
    records: list[dict[str, Any]], indent: Any, space: str, ascii_only: bool, size: int, marked: bool, in_array: bool
) -> None:
    values = [json.dumps(record, indent=indent, ensure_ascii=ascii_only) for record in records]
    text = f"{space}[{space}" + f"{space},{space}".join(values) + f"{space}]{space}" if in_array else "\n".join(values)
    data = b"\xef\xbb\xbf" * marked + text.encode()
    found = read(data, size)
    assert [each.record for each in found] == list(range(1, len(records) + 1))
    for each, record, value in zip(found, records, values, strict=True):
        if isinstance(each, Kept):
            assert each.text.decode() == record["text"]
            assert each.byte_offset is not None and data[each.byte_offset :].startswith(value.encode())
            assert ("x" in record) == (each.metadata is not None)
        else:
            assert each.error == "empty_document" and not record["text"].strip()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{\n  "text": "one"\n}\n', ["one"]),
        (b'{"text":"one"}{"text":"two"} {"text":"three"}', ["one", "two", "three"]),
        (b'[{"text":"one"}]\n[{"text":"two"}]', ["one", "two"]),
        (b'[{"text":"one"}, oops, {"text":"two"}]', ["one", ("malformed_json", 17, b"oops"), "two"]),
        (b'[{"text":"one"},{"text":}, {"text":"two"}]', ["one", ("malformed_json", 16, b'{"text":}'), "two"]),
        (b'[{"text":"one"},]', ["one", ("malformed_json", 16, b"")]),
        (b'[,{"text":"one"}]', [("malformed_json", 1, b""), "one"]),
        (b'[[{"text":"x"}], 7, "a,b"]', [("not_an_object", 1, b'[{"text":"x"}]'), *[("not_an_object", 17, b"7")],
                                         ("not_an_object", 20, b'"a,b"')]),
        (b'{"text":"one"}\nnoise\n{"text":"two"}', ["one", ("malformed_json", 15, b"noise"), "two"]),
        (b'[{"text":"one"}]]', ["one", ("malformed_json", 16, b"]")]),
        (b'[{"text":"one"},{"text":"tw', ["one", ("truncated_file", 16, b'{"text":"tw')]),
        (b'[{"text":"one"}', [("truncated_file", 1, b'{"text":"one"}')]),
        (b'{"text":"one"', [("truncated_file", 0, b'{"text":"one"')]),
        (b'{"text":"caf\xe9"}', [("invalid_utf8", 0, b'{"text":"caf\xe9"}')]),
        (b'{"a":[{"text":"inside"}]}', [("missing_text", 0, b'{"a":[{"text":"inside"}]}')]),
        (b"[]", []),
        (b" \n", []),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [1, 2, 5, 1 << 20])
def test_bad_elements_stand_where_they_are(data: bytes, expected: list[Any], size: int) -> None:
    found = [
        each.text.decode() if isinstance(each, Kept) else (each.error, each.byte_offset, each.raw)
        for each in read(data, size)
    ]
    assert found == expected


@settings(max_examples=200)
@given(st.lists(RECORDS, min_size=1, max_size=4), st.data())
def test_of_a_cut_array_the_whole_elements_are_read(records: list[dict[str, Any]], draw: st.DataObject) -> None:
    data = json.dumps(records).encode()
    cut = data[: draw.draw(st.integers(1, len(data) - 1))]
    found = read(cut)
    *whole, last = found
    assert isinstance(last, Quarantined) and last.error == "truncated_file"
    ends = [len(json.dumps(records[: count + 1])) - 1 for count in range(len(records))]
    assert len(whole) in (sum(end < len(cut) for end in ends), sum(end <= len(cut) for end in ends))


@settings(max_examples=300)
@given(st.text('[]{}",:\\ \nat1', max_size=25), st.integers(1, 6))
def test_no_byte_is_lost_and_blocks_mean_nothing(text: str, size: int) -> None:
    data = text.encode()
    found = read(data, size)
    assert found == read(data)
    covered = bytearray(data)
    for each in found:
        raw = each.raw if isinstance(each, Quarantined) else None
        if raw is not None and each.byte_offset is not None:
            assert data[each.byte_offset :].startswith(raw)
            covered[each.byte_offset : each.byte_offset + len(raw)] = b" " * len(raw)
        elif each.byte_offset is not None:
            end = json.JSONDecoder().raw_decode(text, each.byte_offset)[1]
            covered[each.byte_offset : end] = b" " * (end - each.byte_offset)
    assert not covered.strip(b" \n[],")


def test_lines_of_json_are_read_too_and_compression_changes_nothing(read_bytes: Read) -> None:
    content = b'{"text":"one","id":1}\n{"text":"two","id":2}\n'
    lines = read_bytes({"a.jsonl": content})
    for name, data in (("a.json", content), ("a.json.gz", gzip.compress(content))):
        result = read_bytes({name: data})
        assert [{**row, "file": ""} for row in result.kept] == [{**row, "file": ""} for row in lines.kept]


def test_an_element_over_the_limit_costs_itself(read_bytes: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_document_module, "RECORD_LIMIT", 1000)
    long = json.dumps({"text": "x" * 5000})
    data = f'[{{"text":"one"}}, {long}, {{"text":"two"}}]'.encode()
    found = list(read_json(blocks(data, 100), ReadParameters()))
    assert [each.text for each in found if isinstance(each, Kept)] == [b"one", b"two"]
    (bad,) = [each for each in found if isinstance(each, Quarantined)]
    assert (bad.record, bad.error, bad.size) == (2, "too_large", len(long))


def test_valid_files_of_the_test_suite_are_read(read_bytes: Read, test_data: Path) -> None:
    for path in sorted((test_data / "jsontestsuite").glob("y_*.json")):
        content = path.read_bytes()
        result = read_bytes({"a.json": b'{"text":"t","value":' + content + b"}"})
        assert json.loads(result.kept[0]["metadata"])["value"] == json.loads(content), path.name


def test_invalid_files_of_the_test_suite_are_quarantined_beside_their_neighbours(
    read_bytes: Read, test_data: Path
) -> None:
    paths = sorted((test_data / "jsontestsuite").glob("n_*.json"))
    for path in paths:
        content = path.read_bytes()
        result = read_bytes({"a.json": b'[{"text":"before"},' + content + b"]", "b.json": b'[{"text":"other file"}]'})
        assert [result.texts[0], result.texts[-1]] == ["before", "other file"], path.name
        assert result.errors or not content.strip(), path.name
    assert len(paths) > 90
