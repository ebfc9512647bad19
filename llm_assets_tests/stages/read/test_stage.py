from __future__ import annotations

import gzip
import json
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from pydantic import ValidationError

from llm_assets.contract.stage import Disposition, Stage
from llm_assets.stages.read import rows as rows_module
from llm_assets.stages.read.files import InputFile, ReadPart, group_files
from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.stages.read.records import ReadError
from llm_assets.stages.read.rows import RAW_SCHEMA
from llm_assets.stages.read.stage import ReadStage
from llm_assets.store.folder import Folder
from llm_assets.store.ledger import Count
from llm_assets_tests.stages.read.listing import list_files

Read = Callable[..., Any]
GOOD = b'{"id":"g","text":"good"}'


def locations(result: Any) -> list[tuple[Any, ...]]:
    return [(row["file"], row["record"], row["byte_offset"], row["error"], row["raw"]) for row in result.quarantined]


BAD_LINES = [
    (b'{"text":"a"', "malformed_json"),
    (b'{"text":"a","n":NaN}', "malformed_json"),
    (b"not json", "malformed_json"),
    (b"\x00\x01", "malformed_json"),
    (b'["text"]', "not_an_object"),
    (b"null", "not_an_object"),
    (b'{"text":"caf\xe9"}', "invalid_utf8"),
    (b"\xff\xfe{", "invalid_utf8"),
    (b'{"text":"\\ud83d"}', "lone_surrogate"),
    (b'{"body":"a"}', "missing_text"),
    (b'{"text":null}', "missing_text"),
    (b'{"text":["a"]}', "text_not_string"),
    (b'{"text":7}', "text_not_string"),
    (b'{"text":""}', "empty_document"),
    (b'{"text":" \\n\\u3000"}', "empty_document"),
]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["", "bom"])
def test_each_bad_line_is_quarantined_where_it_stands(read_bytes: Read, end: bytes, start: bytes) -> None:
    content, expected = start, []
    for number, (line, error) in enumerate(BAD_LINES):
        content += GOOD + end + end
        expected.append(("d/a.jsonl", 3 * number + 3, len(content), error, line))
        content += line + end
    result = read_bytes({"d/a.jsonl": content})
    assert locations(result) == expected
    assert [(row["record"], row["text"]) for row in result.kept] == [
        (3 * number + 1, "good") for number in range(len(BAD_LINES))
    ]
    assert result.kept[0]["byte_offset"] == len(start)
    assert result.ledger.incoming.bytes == 4 * len(BAD_LINES) + sum(len(line) for line, _ in BAD_LINES)


WHOLE_FILES = [
    ("a.jsonl", b"", ReadError.EMPTY_FILE),
    ("a.jsonl", b"\n \r\n", ReadError.EMPTY_FILE),
    ("a.jsonl", b"\xef\xbb\xbf", ReadError.EMPTY_FILE),
    ("a.txt", b"", ReadError.EMPTY_FILE),
    ("a.jsonl.gz", b"", ReadError.EMPTY_FILE),
    ("a.jsonl.gz", gzip.compress(b"", mtime=0), ReadError.EMPTY_FILE),
    ("a.jsonl.zst", zstandard.compress(b""), ReadError.EMPTY_FILE),
    ("a.jsonl.gz", GOOD, ReadError.WRONG_FORMAT),
    ("a.jsonl.zst", gzip.compress(GOOD, mtime=0), ReadError.WRONG_FORMAT),
    ("a.jsonl", gzip.compress(GOOD, mtime=0), ReadError.WRONG_FORMAT),
    ("a.md", zstandard.compress(GOOD), ReadError.WRONG_FORMAT),
    ("a.docx", b"PK\x03\x04 words", ReadError.UNKNOWN_FORMAT),
    ("a", b"words", ReadError.UNKNOWN_FORMAT),
    ("jsonl", GOOD, ReadError.UNKNOWN_FORMAT),
    ("a.xml", GOOD, ReadError.UNKNOWN_FORMAT),
    ("a.parquet.gz", b"words", ReadError.UNKNOWN_FORMAT),
    ("a.bin", b"\xff" * (70 << 10), ReadError.UNKNOWN_FORMAT),
]


@pytest.mark.parametrize(("name", "content", "error"), WHOLE_FILES)
def test_a_file_without_a_record_is_one_row(read_bytes: Read, name: str, content: bytes, error: ReadError) -> None:
    result = read_bytes({name: content, "z.txt": b"neighbour"})
    assert locations(result) == [(name, 1, 0, error, content[: 64 << 10])]
    assert result.texts == ["neighbour"]
    assert result.ledger.quarantined[error] == Count(1, len(content))


@pytest.mark.parametrize("name", ["a.txt", "a.md", "A.TXT", "a.txt.gz", "a.md.zst"])
def test_a_text_file_is_one_document_as_it_stands(read_bytes: Read, name: str) -> None:
    text = "# Title\r\n\r\n\x00 é\n"
    data = b"\xef\xbb\xbf" + text.encode()
    packed = {"gz": gzip.compress, "zst": zstandard.compress}.get(name.rpartition(".")[2], bytes)(data)
    result = read_bytes({name: packed})
    (row,) = result.kept
    assert (row["text"], row["record"], row["byte_offset"], row["id"], row["metadata"]) == (text, 1, 3, None, None)


@pytest.mark.parametrize(
    ("name", "content", "offset", "error", "raw"),
    [
        ("a.txt", b"caf\xe9", 0, "invalid_utf8", b"caf\xe9"),
        ("a.txt", b" \n\t", 0, "empty_document", b" \n\t"),
        ("a.md", b"\xef\xbb\xbf", 3, "empty_document", b""),
        ("a.txt", "words".encode("utf-16"), 0, "invalid_utf8", "words".encode("utf-16")),
        ("a.txt.gz", gzip.compress(b"some words", mtime=0)[:-9], 0, "truncated_file", None),
        ("a.txt.gz", gzip.compress(b"words", mtime=0)[:-8] + b"\0" * 8, 0, "corrupt_file", b"words"),
    ],
)
def test_a_text_file_that_is_no_document(
    read_bytes: Read, name: str, content: bytes, offset: int, error: str, raw: bytes | None
) -> None:
    (row,) = locations(read_bytes({name: content}))
    assert row[:4] == (name, 1, offset, error)
    assert b"some words".startswith(row[4]) if raw is None else row[4] == raw


def cut_on_a_line_end(suffix: str, content: bytes) -> bytes:
    if suffix == ".gz":
        compressor = zlib.compressobj(wbits=31)
        return compressor.compress(content) + compressor.flush(zlib.Z_SYNC_FLUSH)
    stream = zstandard.ZstdCompressor().compressobj()
    return stream.compress(content) + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_cut_on_a_line_end_still_shows(read_bytes: Read, suffix: str) -> None:
    content = GOOD + b"\n" + GOOD + b"\n"
    result = read_bytes({f"a.jsonl{suffix}": cut_on_a_line_end(suffix, content)})
    assert result.texts == ["good", "good"]
    assert locations(result) == [(f"a.jsonl{suffix}", 3, len(content), "truncated_file", b"")]
    assert result.quarantined[0]["error_detail"].startswith("after line 2: the file ends inside a")
    assert result.ledger.quarantined["truncated_file"] == Count(1, 0)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_line_without_its_end_before_a_cut_is_not_trusted(read_bytes: Read, suffix: str) -> None:
    content = GOOD + b"\n" + GOOD
    result = read_bytes({f"a.jsonl{suffix}": cut_on_a_line_end(suffix, content)})
    assert locations(result) == [(f"a.jsonl{suffix}", 2, len(GOOD) + 1, "truncated_file", GOOD)]
    assert result.quarantined[0]["error_detail"].startswith("inside line 2: ")


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_damage_in_the_middle_keeps_what_came_before(read_bytes: Read, suffix: str) -> None:
    lines = b"".join(b'{"text":"line %d"}\n' % number for number in range(50_000))
    checked = zstandard.ZstdCompressor(write_checksum=True)
    packed = bytearray(gzip.compress(lines, mtime=0) if suffix == ".gz" else checked.compress(lines))
    middle = len(packed) // 2
    packed[middle : middle + 32] = b"\xff" * 32
    before = read_bytes({f"a.jsonl{suffix}": bytes(packed[:middle])}).texts
    result = read_bytes({f"a.jsonl{suffix}": bytes(packed)})
    assert len(before) > 5_000 and before == [f"line {number}" for number in range(len(before))]
    assert result.texts[: len(before)] == before
    (row,) = [row for row in result.quarantined if row["error"] == "corrupt_file"]
    assert row["record"] == len(result.kept) + len(result.quarantined)


def layouts(records: list[dict[str, str]]) -> dict[str, dict[str, bytes]]:
    """The same records as sets of files of many forms."""
    lines = [json.dumps(record).encode() for record in records]
    table = pa.Table.from_pylist(records)
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, row_group_size=3)
    other_way = [orjson.dumps(dict(reversed(record.items()))) for record in reversed(records)]
    return {
        "lines": {"a.jsonl": b"\n".join(lines)},
        "many files": {f"d{number % 2}/{number}.ndjson": line + b"\r\n" for number, line in enumerate(lines)},
        "compressed, other order": {"x.jsonl.zst": zstandard.compress(b"\n".join(other_way))},
        "table": {"a.parquet": buffer.getvalue().to_pybytes()},
    }


def test_a_document_has_one_id_in_every_layout(read_bytes: Read) -> None:
    records = [{"id": f"é{number}", "text": f"text {number} 😀\n", "x": "y"} for number in range(20)]
    ids = {
        name: sorted((row["doc_id"], row["id"], row["text"], row["metadata"]) for row in read_bytes(files).kept)
        for name, files in layouts(records).items()
    }
    assert all(found == ids["lines"] for found in ids.values())
    assert len({doc_id for doc_id, *_ in ids["lines"]}) == 20


def test_a_text_without_an_id_has_one_id_in_every_format(read_bytes: Read) -> None:
    result = read_bytes({"a.txt": b"words", "b.jsonl": b'{"text":"words"}', "c.md": b"words"})
    assert len({row["doc_id"] for row in result.kept}) == 1


def many_lines(count: int) -> dict[str, bytes]:
    def line(number: int) -> bytes:
        return b"bad" if number % 5 == 4 else b'{"text":"%s %d"}' % (b"x" * (number % 50), number)

    return {name: b"\n".join(line(number) for number in range(count)) for name in ("a.jsonl", "b.jsonl")}


def test_small_batches_hold_the_same_rows(read_bytes: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    files = many_lines(500)
    expected = read_bytes(files)
    monkeypatch.setattr(rows_module, "BATCH_BYTES", 100)
    assert read_bytes(files) == expected
    monkeypatch.setattr(rows_module, "BATCH_ROWS", 1)
    assert read_bytes(files) == expected


def test_batches_are_bounded_and_span_files(tmp_path: Path) -> None:
    for number in range(20):
        line = orjson.dumps({"text": "x" * 500_000, "m": "y" * 500_000}) + b"\n"
        (tmp_path / f"{number:02}.jsonl").write_bytes(line * 3)
    folder = Folder(str(tmp_path))
    (part,) = group_files(folder, list_files(folder))
    batches = [output.rows[Disposition.KEPT] for output in ReadStage().process(part)]
    assert sum(batch.num_rows for batch in batches) == 60
    assert [batch.num_rows for batch in batches[:-1]] == [17] * (len(batches) - 1)


def test_parts_and_files_are_read_the_same_from_a_disk(read_folder: Read, read_bytes: Read, tmp_path: Path) -> None:
    files = many_lines(100)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "_SUCCESS").touch()
    assert read_folder(target_bytes=1) == read_folder() == read_bytes(files)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_a_file_name_that_is_not_utf8_is_written_with_escapes(read_folder: Read, tmp_path: Path) -> None:
    (tmp_path / "caf\udce9.txt").write_bytes(b"words")
    assert [row["file"] for row in read_folder().kept] == ["caf\\udce9.txt"]


def test_a_file_that_is_gone_is_an_error_and_not_an_empty_one(tmp_path: Path) -> None:
    part = ReadPart(Folder(str(tmp_path)), (InputFile("gone.jsonl", 10),))
    with pytest.raises(FileNotFoundError):
        list(ReadStage().process(part))


def test_a_part_without_files_gives_nothing() -> None:
    assert list(ReadStage().process(ReadPart(Folder("memory://nothing"), ()))) == []


def test_the_stage_keeps_its_contract() -> None:
    stage: Stage[ReadPart] = ReadStage()
    other = ReadStage(ReadParameters(text_field="content"))
    assert stage.schema == RAW_SCHEMA
    assert stage.code_version == ReadStage().code_version != other.code_version


@pytest.mark.parametrize("fields", [{"text_field": "id"}, {"text_field": ""}, {"id_field": ""}, {"unknown": "x"}])
def test_parameters_that_make_no_sense_are_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        ReadParameters.model_validate(fields)


def test_a_real_corpus_is_read_as_the_json_module_reads_it(test_data: Path) -> None:
    folder = Folder(str(test_data / "technical-corpus"))
    file = list_files(folder)[0]
    with (test_data / "technical-corpus" / file.name).open("rb") as opened:
        lines = zstandard.ZstdDecompressor().stream_reader(opened).read().splitlines()
    expected = [json.loads(line) for line in lines]
    outputs = list(ReadStage().process(ReadPart(folder, (file,))))
    kept = [row for output in outputs for row in output.rows[Disposition.KEPT].to_pylist()]
    assert [(row["id"], row["text"]) for row in kept] == [(record["id"], record["text"]) for record in expected]
    assert sum(output.rows[Disposition.QUARANTINED].num_rows for output in outputs) == 0
    assert len(kept) > 5_000 and len(outputs) > 1
