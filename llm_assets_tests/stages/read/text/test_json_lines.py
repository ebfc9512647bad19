from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.stages.read.layers.compression import signature
from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.stages.read.records import Kept, Quarantined, ReadError
from llm_assets.stages.read.text.json_lines import read_json_lines

Read = Callable[..., Any]
BOM = b"\xef\xbb\xbf"


class NotStrictJsonError(ValueError):
    """NaN or Infinity, which the json module takes."""


def refuse_constant(name: str) -> None:
    raise NotStrictJsonError(name)


def expected_of(line: bytes) -> dict[str, Any] | str:
    """Oracle: the fields of a line by the json module, or its error."""
    try:
        fields = json.loads(line.decode(), parse_constant=refuse_constant)
    except UnicodeDecodeError:
        return "invalid_utf8"
    except ValueError:
        return "malformed_json"
    try:
        json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "lone_surrogate"
    if not isinstance(fields, dict):
        return "not_an_object"
    text = fields.get("text")
    if not isinstance(text, str):
        return "missing_text" if text is None else "text_not_string"
    return fields if text.strip() else "empty_document"


def expected_rows(data: bytes, broken: bool = False) -> list[tuple[Any, ...]]:
    """Oracle: (record, byte offset, id, text, metadata) or (record, byte offset, error, raw) for a file's content."""
    rows: list[tuple[Any, ...]] = []
    *lines, last = data.split(b"\n")
    if not broken and last:
        lines.append(last)
    offset = 0
    for number, whole in enumerate(lines, 1):
        start, line = offset, whole
        offset += len(whole) + 1
        if number == 1 and line.startswith(BOM):
            start, line = start + 3, line[3:]
        if not line.strip():
            continue
        line = line.removesuffix(b"\r")
        fields = expected_of(line)
        if isinstance(fields, str):
            rows.append((number, start, fields, line))
            continue
        own_id, text = fields.pop("id", None), fields.pop("text")
        own_id = own_id if own_id is None or isinstance(own_id, str) else ("json", own_id)
        rows.append((number, start, own_id, text, fields or None))
    if broken:
        rows.append((len(lines) + 1, offset, "truncated_file", last))
    return rows


def rows_of(result: Any) -> list[tuple[Any, ...]]:
    """What was read, in the oracle's form and order."""
    rows: list[tuple[Any, ...]] = []
    for row in result.kept:
        own_id = row["id"]
        metadata = json.loads(row["metadata"]) if row["metadata"] is not None else None
        rows.append((row["record"], row["byte_offset"], own_id, row["text"], metadata))
    rows.extend((row["record"], row["byte_offset"], row["error"], row["raw"]) for row in result.quarantined)
    return sorted(rows, key=lambda row: row[0])


def same_rows(actual: list[tuple[Any, ...]], expected: list[tuple[Any, ...]]) -> bool:
    def stringified(row: tuple[Any, ...], other: tuple[Any, ...]) -> tuple[Any, ...]:
        """A row of the oracle, with the id as text if its JSON has the oracle's value."""
        if isinstance(row[2], tuple) and isinstance(other[2], str) and json.loads(other[2]) == row[2][1]:
            return (*row[:2], other[2], *row[3:])
        return row

    return len(actual) == len(expected) and all(
        row == stringified(wanted, row) for row, wanted in zip(actual, expected, strict=True)
    )


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
RECORDS = st.fixed_dictionaries(
    {}, optional={"text": st.text(max_size=20) | JSON_VALUES, "id": st.text(max_size=3) | JSON_VALUES, "z": JSON_VALUES}
)
GOOD = st.fixed_dictionaries(
    {"text": st.text("aé😀 \n", min_size=1, max_size=30)}, optional={"id": st.text(max_size=3)}
)


def dumped(value: object, ascii_only: bool) -> bytes:
    return json.dumps(value, ensure_ascii=ascii_only).encode(errors="surrogatepass")


LINES = st.one_of(
    st.builds(dumped, GOOD, st.booleans()),
    st.builds(dumped, RECORDS, st.booleans()),
    st.builds(dumped, JSON_VALUES, st.booleans()),
    st.binary(max_size=12).map(lambda raw: raw.replace(b"\n", b"")),
    st.sampled_from(
        [
            b"",
            b" \t",
            b'{"text":"a","text":"b"}',
            b'{"text":"\\ud800"}',
            b'{"text":"\\udc00\\ud83d\\ude00"}',
            b'{"text":"\\\\ud800"}',
            b'["\\ud83d"]',
            b'{"text":"a","\\udfff":1}',
            b'{"text":"\\ud800",}',
            b'{"text":"x","n":NaN}',
            b'{"text":"x","n":-Infinity}',
            b'{"text":"x"} {"text":"y"}',
            b'{"text":"x","n":123456789012345678901234567890,"id":98765432109876543210987}',
            b'{"text":"x","n":1e17,"s":"1e+17"}',
            b'{"text":"caf\xe9"}',
            b'{"text":"\xed\xa0\x80"}',
            b'\xef\xbb\xbf{"text":"x"}',
            b'{"text":"\x00"}',
            b'{"text":"\\u0000"}',
        ]
    ),
)
ENDS = st.sampled_from([b"\n", b"\n", b"\r\n"])
CONTENT = st.builds(
    lambda start, lines, unended: start + b"".join(lines) + unended,
    st.sampled_from([b"", b"", BOM]),
    st.lists(st.builds(lambda line, end: line + end, LINES, ENDS), max_size=8),
    st.just(b"") | LINES,
).filter(lambda content: signature(content) is None)
"""Good and bad lines, the last one perhaps without its end; never the first bytes of a compressed format."""


@settings(max_examples=400)
@given(CONTENT)
def test_every_line_is_read_as_the_json_module_reads_it(read_bytes: Read, content: bytes) -> None:
    result = read_bytes({"a.jsonl": content})
    expected = expected_rows(content)
    if expected:
        assert same_rows(rows_of(result), expected)
    else:
        assert result.errors == ["empty_file"]


def gzip_prefix(data: bytes) -> bytes:
    member = zlib.decompressobj(wbits=31)
    return member.decompress(data) + member.flush()


def zstd_blocks(data: bytes) -> bytes:
    compressor = zstandard.ZstdCompressor().compressobj()
    parts = [
        compressor.compress(data[start : start + 11]) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        for start in range(0, len(data), 11)
    ]
    return b"".join(parts) + compressor.flush()


def zstd_prefix(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()


@settings(max_examples=300)
@given(CONTENT, st.sampled_from([".gz", ".zst"]), st.data())
def test_of_a_cut_file_all_before_the_cut_is_read_and_the_cut_record_is_kept_aside(
    read_bytes: Read, content: bytes, suffix: str, draw: st.DataObject
) -> None:
    whole = gzip.compress(content, mtime=0) if suffix == ".gz" else zstd_blocks(content)
    cut = whole[: draw.draw(st.integers(1, len(whole) - 1))]
    prefix = gzip_prefix(cut) if suffix == ".gz" else zstd_prefix(cut)
    assert content.startswith(prefix)
    result = read_bytes({f"a.jsonl{suffix}": cut})
    assert same_rows(rows_of(result), expected_rows(prefix, broken=True))


@given(CONTENT.filter(lambda content: content.strip(b"\r\n \t") not in (b"", BOM)))
def test_compression_changes_nothing(read_bytes: Read, content: bytes) -> None:
    def rows(name: str, data: bytes) -> list[dict[str, Any]]:
        result = read_bytes({name: data})
        return [{**row, "file": None} for row in result.kept + result.quarantined]

    plain = rows("a.jsonl", content)
    half = len(content) // 2
    members = gzip.compress(content[:half], mtime=0) + gzip.compress(content[half:], mtime=0)
    frames = zstandard.compress(content[:half]) + zstd_blocks(content[half:])
    assert rows("a.jsonl.gz", members) == plain
    assert rows("a.ndjson.zst", frames) == plain


def test_a_very_long_line_costs_no_more_than_its_bytes() -> None:
    """Blocks of 1 KiB: joining what there is at each block would copy 100 GB."""
    text = "x" * (20 << 20)
    data = b'{"text":"' + text.encode() + b'"}\n{"text":"next"}'
    blocks = (data[start : start + 1024] for start in range(0, len(data), 1024))
    long, following = read_json_lines(blocks, ReadParameters())
    assert isinstance(long, Kept) and long.text == text.encode()
    assert isinstance(following, Kept) and following.byte_offset == len(text) + 12


def one(line: bytes, **parameters: str) -> Kept | Quarantined:
    (record,) = read_json_lines([line], ReadParameters(**parameters))
    return record


def test_ids_that_are_no_strings_become_json_and_metadata_is_sorted() -> None:
    record = one(b'{"id":{"b":1,"a":[null,true]},"z":1,"text":"t","k":{"y":"\xc3\xa9","x":2.5}}')
    assert isinstance(record, Kept)
    assert record.own_id == '{"a":[null,true],"b":1}'
    assert record.metadata == '{"k":{"x":2.5,"y":"é"},"z":1}'.encode()


def test_long_integers_stay_exact() -> None:
    record = one(b'{"id":340282366920938463463374607431768211455,"text":"t","h":[-18446744073709551617,1.5]}')
    assert isinstance(record, Kept)
    assert record.own_id == "340282366920938463463374607431768211455"
    assert record.metadata == b'{"h":[-18446744073709551617,1.5]}'


def test_other_field_names() -> None:
    record = one(b'{"content":"t","text":"other","uid":7}', text_field="content", id_field="uid")
    assert isinstance(record, Kept)
    assert (record.text, record.own_id, record.metadata) == (b"t", "7", b'{"text":"other"}')


@pytest.mark.parametrize("depth", [254, 1_100, 200_000])
def test_deep_nesting_is_quarantined(depth: int) -> None:
    record = one(b'{"text":"t","deep":' + b"[" * depth + b"]" * depth + b"}")
    assert isinstance(record, Quarantined) and record.error is ReadError.MALFORMED_JSON


def test_raw_bytes_are_cut_and_the_size_is_not(read_bytes: Read) -> None:
    line = b'{"text":' + b"9" * 100_000 + b"x}"
    result = read_bytes({"a.jsonl": line + b"\n"})
    (row,) = result.quarantined
    assert row["raw"] == line[: 64 << 10]
    assert result.ledger.quarantined["malformed_json"].bytes == len(line)


def test_valid_json_of_the_test_suite_is_kept(read_bytes: Read, test_data: Path) -> None:
    values = [path.read_bytes() for path in sorted((test_data / "jsontestsuite").glob("y_*.json"))]
    values = [b"".join(value.splitlines()) for value in values]
    lines = [b'{"text":"t","value":' + value + b"}" for value in values]
    result = read_bytes({"a.jsonl": b"\n".join(lines)})
    assert len(values) > 90 and result.errors == []
    assert [json.loads(row["metadata"])["value"] for row in result.kept] == [json.loads(value) for value in values]


def test_invalid_json_of_the_test_suite_is_quarantined_between_neighbours(read_bytes: Read, test_data: Path) -> None:
    paths = sorted((test_data / "jsontestsuite").glob("n_*.json"))
    values = [path.read_bytes().replace(b"\n", b" ") for path in paths]
    content = b""
    offsets: list[int] = []
    for number, value in enumerate(values):
        offsets.append(len(content))
        content += b'{"text":"t","value":' + value + b'}\n{"text":"neighbour %d"}\n' % number
    result = read_bytes({"a.jsonl": content})
    assert result.texts == [f"neighbour {number}" for number in range(len(values))]
    assert [row["byte_offset"] for row in result.quarantined] == offsets
    assert [row["record"] for row in result.quarantined] == list(range(1, 2 * len(values), 2))
    assert [row["raw"][20:-1] for row in result.quarantined] == values
    assert set(result.errors) == {"malformed_json", "invalid_utf8", "lone_surrogate"} & set(result.errors)
    assert result.errors.count("malformed_json") > 80


def test_undecided_json_of_the_test_suite_is_read_or_quarantined(read_bytes: Read, test_data: Path) -> None:
    values = [path.read_bytes().replace(b"\n", b" ") for path in sorted((test_data / "jsontestsuite").glob("i_*"))]
    result = read_bytes({"a.jsonl": b"".join(b'{"text":"t","value":' + value + b"}\n" for value in values)})
    assert len(result.kept) + len(result.quarantined) == len(values) > 30


def test_naughty_strings_survive(read_bytes: Read, test_data: Path) -> None:
    strings = json.loads((test_data / "robustness" / "blns.json").read_bytes())
    lines = [
        dumped({"text": string, "id": string, "m": string}, number % 2 == 0) for number, string in enumerate(strings)
    ]
    result = read_bytes({"a.jsonl": b"\n".join(lines)})
    kept = [string for string in strings if string.strip()]
    assert result.texts == kept
    assert [row["id"] for row in result.kept] == kept
    assert [json.loads(row["metadata"]) for row in result.kept] == [{"m": string} for string in kept]
    assert result.errors == ["empty_document"] * (len(strings) - len(kept))


def test_invalid_utf8_sequences_are_quarantined_and_valid_ones_kept(read_bytes: Read, test_data: Path) -> None:
    cases: list[tuple[bool, bytes]] = []
    for line in (test_data / "robustness" / "utf8tests.txt").read_text().splitlines():
        fields = line.split(":")
        if line.startswith("#") or len(fields) < 3 or not fields[1].endswith(" hex"):
            continue
        sequence = bytes.fromhex(fields[2].replace(" ", ""))
        if min(sequence) >= 0x20:
            cases.append((fields[1].strip() == "valid hex", sequence))
    content = b"".join(b'{"text":"a' + sequence + b'b"}\n' for _, sequence in cases)
    result = read_bytes({"a.jsonl": content})
    assert len(cases) > 100
    assert result.texts == [f"a{sequence.decode()}b" for valid, sequence in cases if valid]
    assert [row["raw"] for row in result.quarantined] == [
        b'{"text":"a' + sequence + b'b"}' for valid, sequence in cases if not valid
    ]
    assert set(result.errors) == {"invalid_utf8"}
