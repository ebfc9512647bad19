from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from llm_assets.stages.read.suffixes import Suffix, suffix_of

Read = Callable[..., Any]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jsonl", Suffix(".jsonl", "")),
        ("A.JSONL.GZ", Suffix(".jsonl", ".gz")),
        ("d.jsonl/größe.md.zst", Suffix(".md", ".zst")),
        ("a.tar.xz", Suffix(".tar", ".xz")),
        ("a.tgz", Suffix(".tar", ".gz")),
        ("a.parquet", Suffix(".parquet", "")),
        ("a.parquet.gz", None),
        ("a.zip.gz", None),
        ("a.jsonl.gz.gz", None),
        ("a.log", Suffix(".txt", "")),
        ("a.log.bz2", Suffix(".txt", ".bz2")),
        ("a.packed", Suffix(".jsonl", ".zst")),
        ("README", Suffix(".txt", "")),
        ("a.b/README", Suffix(".txt", "")),
        ("a.srt", Suffix(".srt", "")),
        ("a.srt.gz", Suffix(".srt", ".gz")),
        ("a.docx", None),
    ],
)
def test_what_a_name_says(name: str, expected: Suffix | None) -> None:
    stands_for = {".log": ".txt", ".packed": ".jsonl.zst", "": ".txt"}
    assert suffix_of(name, stands_for, [".srt"]) == expected


def test_without_a_word_on_it_a_name_without_suffix_is_unknown() -> None:
    assert suffix_of("README", {}) is None


def test_suffixes_can_be_mapped(read_bytes: Read) -> None:
    files = {"a.log": b"one", "b": b"two", "c.LOG.gz": b"\x1f\x8b", "d.html": b"<p>three"}
    result = read_bytes(files, formats={".log": ".txt", "": ".md"})
    assert result.texts == ["one", "two"]
    assert [(row["file"], row["error"]) for row in result.quarantined] == [
        ("c.LOG.gz", "truncated_file"),
        ("d.html", "unknown_format"),
    ]
