from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.stages.read.records import document_id
from llm_assets.stages.read.text import lines as lines_module
from llm_assets.stages.read.text import units as units_module

Read = Callable[..., Any]
END = re.compile("(\r\n|\r|\n)")
TEXT = st.text(st.sampled_from("ab é\t\n\r\u3000\u2028語😀\x85"), max_size=40)


def split(text: str) -> list[tuple[int, str, str]]:
    """Oracle: character offset, text and end of each line."""
    parts = END.split(text)
    lines, place = [], 0
    for line, end in zip(parts[::2], [*parts[1::2], ""], strict=True):
        lines.append((place, line, end))
        place += len(line) + len(end)
    return lines if lines[-1][1] else lines[:-1]


def expected_lines(text: str, keep: bool) -> list[tuple[int, int, str]]:
    return [
        (number, len(text[:start].encode()), line + end if keep else line)
        for number, (start, line, end) in enumerate(split(text), 1)
        if line.strip()
    ]


def expected_paragraphs(text: str, keep: bool) -> list[tuple[int, int, str]]:
    groups: list[list[tuple[int, str, str]]] = [[]]
    for line in split(text):
        if line[1].strip():
            groups[-1].append(line)
        else:
            groups.append([])
    found = []
    for group in groups:
        if group:
            whole = "".join(line + end for _, line, end in group)
            kept = whole if keep else whole[: len(whole) - len(group[-1][2])]
            found.append((len(found) + 1, len(text[: group[0][0]].encode()), kept))
    return found


@given(TEXT, st.booleans(), st.sampled_from(["line", "paragraph"]))
def test_lines_and_paragraphs_are_those_of_the_whole_text(read_bytes: Read, text: str, keep: bool, unit: str) -> None:
    expected = (expected_lines if unit == "line" else expected_paragraphs)(text, keep)
    result = read_bytes({"a.txt": text.encode()}, unit=unit, keep_line_ends=keep)
    assert [(row["record"], row["byte_offset"], row["text"]) for row in result.kept] == expected
    assert result.errors == ([] if expected else ["empty_file"])


def test_a_line_that_is_no_utf8_costs_itself(read_bytes: Read) -> None:
    result = read_bytes({"a.md": b"one\r\ncaf\xe9\r\nthree"}, unit="line")
    assert [(row["record"], row["text"]) for row in result.kept] == [(1, "one"), (3, "three")]
    (row,) = result.quarantined
    assert (row["record"], row["byte_offset"], row["error"], row["raw"]) == (2, 5, "invalid_utf8", b"caf\xe9")
    assert row["error_detail"] == "the line: unexpected end of data at byte 3"


@pytest.mark.parametrize(("unit", "texts"), [("line", ["one", "two"]), ("paragraph", ["one\ntwo"])])
def test_of_a_cut_file_the_whole_units_are_read(read_bytes: Read, unit: str, texts: list[str]) -> None:
    packed = gzip.compress(b"one\ntwo\n\nthree", mtime=0)[:-8]
    result = read_bytes({"a.txt.gz": packed}, unit=unit)
    assert result.texts == texts
    (row,) = result.quarantined
    assert (row["byte_offset"], row["error"], row["raw"]) == (9, "truncated_file", b"three")


@pytest.mark.parametrize("unit", ["file", "line", "paragraph"])
def test_what_is_over_the_limit_is_in_quarantine_with_its_size(
    read_bytes: Read, monkeypatch: pytest.MonkeyPatch, unit: str
) -> None:
    for module in (lines_module, units_module):
        monkeypatch.setattr(module, "RECORD_LIMIT", 1000)
    text = b"x" * 3000 + (b"" if unit == "file" else b"\n\nshort\n")
    result = read_bytes({"a.txt": text}, unit=unit)
    assert [(row["byte_offset"], row["error"]) for row in result.quarantined] == [(0, "too_large")]
    assert result.texts == ([] if unit == "file" else ["short"])
    assert 3000 <= result.ledger.quarantined["too_large"].bytes <= 3001


def test_a_line_is_the_same_document_as_in_json(read_bytes: Read) -> None:
    result = read_bytes({"a.txt": " = Überschrift = \n".encode()}, unit="line", keep_line_ends=True)
    assert result.kept[0]["doc_id"] == document_id(None, " = Überschrift = \n".encode())


def test_wikitext_by_lines_is_the_corpus_that_is_published(read_bytes: Read, test_data: Path) -> None:
    """Lines with their ends; headings and short lines are dropped here, as rules of cleaning do."""
    for name, count in (("wiki.test.raw", 2_073), ("wiki.valid.raw", 1_806)):
        content = (test_data / "wikitext-2" / name).read_bytes()
        result = read_bytes({name: content}, unit="line", keep_line_ends=True, formats={".raw": ".txt"})
        assert b"".join(row["text"].encode() for row in result.kept) == re.sub(rb"(?m)^ *\r\n", b"", content)
        kept = [text for text in result.texts if len(text.strip()) >= 20 and not text.startswith(" = ")]
        assert len(kept) == count
