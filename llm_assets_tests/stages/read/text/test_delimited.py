from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.stages.read.text import delimited as delimited_module
from llm_assets.store.ledger import Count

Read = Callable[..., Any]
CELL = st.text('a",;\t\n\r é😀', max_size=8)
ROWS = st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=6)


def written(rows: list[Any], delimiter: str, end: str, quoting: Any = csv.QUOTE_MINIMAL) -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows(rows)
    return out.getvalue().encode()


@settings(max_examples=200)
@given(ROWS, st.sampled_from(["\n", "\r\n"]), st.booleans(), st.sampled_from(["csv", "tsv"]))
def test_what_a_csv_writer_wrote_is_read_back(
    read_bytes: Read, rows: list[tuple[str, str, str]], end: str, marked: bool, suffix: str
) -> None:
    delimiter = "," if suffix == "csv" else "\t"
    header = written([("text", "id", "größe")], delimiter, end)
    data = b"\xef\xbb\xbf" * marked + header
    places = []
    for row in rows:
        places.append(len(data))
        data += written([row], delimiter, end, csv.QUOTE_ALL)
    result = read_bytes({f"a.{suffix}": data})
    found = {row["record"]: row for row in result.kept + result.quarantined}
    assert sorted(found) == list(range(1, len(rows) + 1))
    for number, ((text, own_id, size), place) in enumerate(zip(rows, places, strict=True), 1):
        row = found[number]
        assert (row["byte_offset"], row["id"]) == (place, own_id or None)
        assert json.loads(row["metadata"]) == {"größe": size}
        assert row["text"] == (text if text.strip() else None)
        assert row["error"] == (None if text.strip() else "empty_document")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"one,1\ntwo,2", ["one", "two"]),
        (b"one,1\n\n  \r\ntwo,2\n", ["one", "two"]),
        (b"one\ntwo,2\n", [(1, 8, "malformed_row", b"one"), "two"]),
        (b"one,1,x\ntwo,2\n", [(1, 8, "malformed_row", b"one,1,x"), "two"]),
        (b'"on"e,1\ntwo,2\n', [(1, 8, "malformed_row", b'"on"e,1'), "two"]),
        (b"caf\xe9,1\ntwo,2\n", [(1, 8, "invalid_utf8", b"caf\xe9,1"), "two"]),
        (b'"one\nmore",1\n two,2\n', ["one\nmore", " two"]),
        (b'one,1\n"two,2\nthree,3\n', ["one", (2, 14, "malformed_row", b'"two,2\nthree,3')]),
    ],
)
def test_bad_rows_stand_where_they_are(read_bytes: Read, body: bytes, expected: list[Any]) -> None:
    result = read_bytes({"a.csv": b"text,id\n" + body})
    rows = sorted(result.kept + result.quarantined, key=lambda row: row["record"])
    assert [row["text"] or tuple(row[key] for key in ("record", "byte_offset", "error", "raw")) for row in rows] == (
        expected
    )


def test_a_file_without_the_text_column_is_one_entry_for_all_its_rows(read_bytes: Read) -> None:
    result = read_bytes({"a.csv": b"body,id\none,1\ntwo,2\nthree,3\n"})
    (row,) = result.quarantined
    assert (row["record"], row["error"], row["records"], row["raw"]) == (1, "missing_text", 3, b"one,1")
    assert row["error_detail"] == "the file has no column 'text'; it has: body, id"
    assert result.ledger.quarantined["missing_text"] == Count(3, len(b"one,1two,2three,3"))


@pytest.mark.parametrize("data", [b"text,id\n", b"\n\n", b"\xef\xbb\xbf"])
def test_a_file_without_rows_is_empty(read_bytes: Read, data: bytes) -> None:
    assert read_bytes({"a.csv": data}).errors == ["empty_file"]


def test_a_cut_file_gives_its_whole_rows(read_bytes: Read) -> None:
    packed = gzip.compress(b'text\none\n"two\nlines"\n"thr', mtime=0)[:-8]
    result = read_bytes({"a.csv.gz": packed})
    assert result.texts == ["one", "two\nlines"]
    (row,) = result.quarantined
    assert (row["record"], row["byte_offset"], row["error"], row["raw"]) == (3, 21, "truncated_file", b'"thr')


def test_a_quote_that_is_never_closed_takes_no_more_memory_than_the_limit(
    read_bytes: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited_module, "_ROW_LIMIT", 100)
    body = b'"one\n' + b"x" * 60 + b"\n" + b"y" * 60 + b"\nlast\n"
    result = read_bytes({"a.csv": b"text\n" + body})
    assert result.errors == ["too_large"] and result.texts == ["last"]
    assert result.quarantined[0]["record"] == 1 and result.kept[0]["record"] == 2


def test_cells_may_be_long(read_bytes: Read) -> None:
    """The csv module's own limit is 128 KiB."""
    assert read_bytes({"a.csv": b"text\n" + b"x" * 300_000}).texts == ["x" * 300_000]
