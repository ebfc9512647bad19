from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

Read = Callable[..., Any]
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".zst": zstandard.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
}


def tar(files: Mapping[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, content in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return out.getvalue()


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def parquet(texts: list[str]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"text": texts}), out)
    return out.getvalue()


LINES = b'{"text":"one"}\n{"text":"two"}\n'
FILES = {
    "a/lines.jsonl": LINES,
    "a/größe 語.txt": "Größe".encode(),
    "b.jsonl.gz": gzip.compress(LINES, mtime=0),
    "c.json": b'[{"text":"three"}]',
    "d.parquet": parquet(["four", "five"]),
    "e.csv": b"text\nsix\n",
    "x" * 120 + "/long.txt": b"long name",
}
HIDDEN = {"__MACOSX/._a.txt": b"x", ".DS_Store": b"x", "_SUCCESS": b""}


def flat(result: Any) -> list[tuple[Any, ...]]:
    rows = sorted(result.kept + result.quarantined, key=lambda row: (row["file"], row["record"]))
    return [(row["record"], row["byte_offset"], row["text"], row["error"], row["doc_id"]) for row in rows]


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_files_in_a_tar_are_read_as_they_are_outside(read_bytes: Read, suffix: str, form: int) -> None:
    outside = read_bytes(FILES)
    packed = PACKERS[suffix](tar({**FILES, **HIDDEN}, form))
    inside = read_bytes({f"data.tar{suffix}": packed})
    assert flat(inside) == flat(outside)
    assert {row["file"] for row in inside.kept} == {f"data.tar{suffix}/{name}" for name in FILES}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_files_in_a_zip_are_read_as_they_are_outside(read_bytes: Read, method: int) -> None:
    inside = read_bytes({"data.zip": zipped({**FILES, **HIDDEN}, method)})
    assert flat(inside) == flat(read_bytes(FILES))
    assert {row["file"] for row in inside.kept} == {f"data.zip/{name}" for name in FILES}


def test_a_short_suffix_of_a_compressed_tar(read_bytes: Read) -> None:
    assert read_bytes({"a.tgz": gzip.compress(tar({"a.txt": b"one"}))}).texts == ["one"]


def test_names_of_a_zip_without_the_flag_for_utf8(read_bytes: Read) -> None:
    """As many tools write them: UTF-8 and no word of it."""
    data = bytearray(zipped({"größe.txt": b"one"}))
    for magic, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        flag = data.index(magic) + place
        data[flag : flag + 2] = b"\0\0"
    assert [row["file"] for row in read_bytes({"a.zip": bytes(data)}).kept] == ["a.zip/größe.txt"]


BAD_MEMBERS = {"a.docx": b"x", "b.zip": zipped({"a.txt": b"x"}), "c.txt": b"", "d.jsonl": b"bad\n", "e.txt": b"good"}
ERRORS = ["unknown_format", "unknown_format", "empty_file", "malformed_json"]


@pytest.mark.parametrize(("name", "pack"), [("a.tar", tar), ("a.zip", zipped)])
def test_bad_members_cost_themselves(read_bytes: Read, name: str, pack: Callable[[Mapping[str, bytes]], bytes]) -> None:
    result = read_bytes({name: pack(BAD_MEMBERS)})
    assert result.texts == ["good"]
    found = sorted((row["file"], row["error"]) for row in result.quarantined)
    assert found == [(f"{name}/{member}", error) for member, error in zip(BAD_MEMBERS, ERRORS, strict=False)]


def test_links_and_devices_in_a_tar_are_told_of(read_bytes: Read) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        header = tarfile.TarInfo("folder")
        header.type = tarfile.DIRTYPE
        archive.addfile(header)
        link = tarfile.TarInfo("link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "a.txt"
        archive.addfile(link)
    result = read_bytes({"a.tar": out.getvalue()})
    assert [(row["file"], row["error"]) for row in result.quarantined] == [("a.tar/link.txt", "unsupported")]


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("a.tar", b"", "empty_file"),
        ("a.tar", b"no archive at all", "wrong_format"),
        ("a.tar", b"x" * 2000, "wrong_format"),
        ("a.tar", tar({}), "empty_file"),
        ("a.tar.gz", b"x" * 2000, "wrong_format"),
        ("a.zip", b"no archive at all", "wrong_format"),
        ("a.zip", zipped({"a.txt": b"x"})[:-30], "truncated_file"),
        ("a.zip", zipped({}), "empty_file"),
    ],
)
def test_an_archive_that_is_none_is_one_entry(read_bytes: Read, name: str, content: bytes, error: str) -> None:
    result = read_bytes({name: content, "z.txt": b"neighbour"})
    assert [(row["file"], row["error"], row["record"]) for row in result.quarantined] == [(name, error, 1)]
    assert result.texts == ["neighbour"]


@settings(max_examples=60)
@given(st.integers(1, 3072), st.sampled_from(["", ".gz", ".zst"]))
def test_of_a_cut_tar_all_before_the_cut_is_read_and_the_cut_shows(read_bytes: Read, left: int, suffix: str) -> None:
    """Three members of one block and a header each; then comes the end mark."""
    every = [b"%d %d" % (member, line) for member in range(3) for line in range(30)]
    lines = [b'{"text":"%s"}\n' % text for text in every]
    cut = tar({f"{member}.jsonl": b"".join(lines[30 * member :][:30]) for member in range(3)})[:left]
    result = read_bytes({f"a.tar{suffix}": PACKERS[suffix](cut)})
    whole = cut.count(b"}\n")
    assert [text.encode() for text in result.texts] == every[:whole]
    assert result.errors and set(result.errors) <= {"truncated_file", "wrong_format"}


def test_a_damaged_header_in_a_tar_is_not_taken_for_its_end(read_bytes: Read) -> None:
    data = bytearray(tar({"a.txt": b"one", "b.txt": b"two"}))
    data[1024 : 1024 + 10] = b"\xff" * 10
    result = read_bytes({"a.tar": bytes(data)})
    assert result.texts == ["one"]
    assert [(row["file"], row["error"], row["record"]) for row in result.quarantined] == [("a.tar", "corrupt_file", 2)]


def test_a_damaged_member_of_a_zip_costs_itself(read_bytes: Read) -> None:
    lines = b"".join(b'{"text":"line %d"}\n' % number for number in range(2000))
    data = bytearray(zipped({"a.jsonl": lines, "b.txt": b"good"}, zipfile.ZIP_STORED))
    place = data.index(b"line 1999")
    data[place] ^= 1
    result = read_bytes({"a.zip": bytes(data)})
    assert result.texts[-1] == "good"
    assert [(row["file"], row["error"]) for row in result.quarantined] == [("a.zip/a.jsonl", "corrupt_file")]


def test_an_encrypted_zip_is_told_of(read_bytes: Read) -> None:
    data = bytearray(zipped({"a.txt": b"x"}))
    for magic, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + place] |= 1
    (row,) = read_bytes({"a.zip": bytes(data)}).quarantined
    assert (row["error"], row["file"]) == ("unsupported", "a.zip/a.txt")


def test_an_archive_on_a_disk(read_folder: Read, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar({"a.jsonl": json.dumps({"text": "x" * 100_000}).encode() * 3}))
    assert len(read_folder().kept) + len(read_folder().quarantined) > 0
