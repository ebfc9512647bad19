from __future__ import annotations

import codecs
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.stages.read.layers.encoding import Transcoded, detect_encoding

Read = Callable[..., Any]
SENTENCES = {
    "cp1252": "Die Größe der Häuser überraschte den Käufer – “schön”, sagte er, für 20 €.\n",
    "cp1251": "Широкая электрификация южных губерний даст мощный толчок подъёму сельского хозяйства.\n",
    "shift_jis": "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。\n",
    "big5": "天地玄黃，宇宙洪荒。日月盈昃，辰宿列張。寒來暑往，秋收冬藏。\n",
    "gb18030": "天地玄黄，宇宙洪荒。日月盈昃，辰宿列张。😀寒来暑往，秋收冬藏。\n",
    "utf-16-le": "naïve 語 😀\n",
    "utf-16-be": "naïve 語 😀\n",
    "utf-32": "naïve 語 😀\n",
    "utf-8": "naïve 語 😀\n",
}
CODECS = sorted(set(SENTENCES) | {"utf-16", "koi8-r", "iso8859-15", "utf-8-sig"})


@pytest.mark.parametrize("encoding", CODECS)
@settings(max_examples=30)
@given(st.lists(st.sampled_from(["one", "", "größe", "語語", "ёж", "😀", "a\tb"]), max_size=6), st.integers(1, 7))
def test_lines_are_those_of_the_text_at_their_places_in_the_file(
    read_bytes: Read, encoding: str, lines: list[str], size: int
) -> None:
    def encodable(line: str) -> bool:
        try:
            return bool(line.encode(encoding))
        except UnicodeEncodeError:
            return False

    lines = [line if encodable(line) else "plain" for line in lines]
    data = "".join(f"{line}\n" for line in lines).encode(encoding)
    result = read_bytes({"a.txt": data}, unit="line", encoding=encoding)
    assert result.texts == [line for line in lines if line]
    for row in result.kept:
        rest = data[row["byte_offset"] :]
        plain = encoding if not encoding.startswith("utf-32") and encoding != "utf-16" else f"{encoding}-le"
        assert rest.startswith(row["text"].encode("utf-8" if encoding == "utf-8-sig" else plain))
    blocks = [data[start : start + size] for start in range(0, len(data), size)]
    whole = b"".join(Transcoded(iter(blocks), encoding)) if encoding != "utf-8-sig" else data
    assert whole.decode("utf-8-sig") == "".join(f"{line}\n" for line in lines)


def test_bytes_that_are_no_text_cost_their_line(read_bytes: Read) -> None:
    data = "один\n".encode("shift_jis") + b"\x81\n" + "猫\n".encode("shift_jis")
    result = read_bytes({"a.txt": data}, unit="line", encoding="shift_jis")
    assert result.texts == ["один", "猫"]
    (row,) = result.quarantined
    assert (row["record"], row["byte_offset"], row["error"]) == (2, 9, "invalid_utf8")


def test_bytes_that_would_be_utf8_by_chance_are_not_taken_for_text(read_bytes: Read) -> None:
    """C3 A9 is no GBK, and would be é."""
    result = read_bytes({"a.txt": b"\xff\xc3\x29"}, encoding="shift_jis")
    assert result.texts == [b"\xc3\x29".decode("shift_jis")] or result.errors == ["invalid_utf8"]
    result = read_bytes({"a.txt": b"x\x81\xff\xc3\xa9"}, encoding="euc_jp")
    assert result.errors == ["invalid_utf8"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.tsv"])
def test_every_text_format_may_have_any_encoding(read_bytes: Read, name: str) -> None:
    text = "Größe “x” €"
    content = {
        "jsonl": f'{{"text":"{text}","f":"ü"}}\n',
        "json": f'[{{"text":"{text}","f":"ü"}}]',
        "csv": f"text,f\n{text},ü\n",
        "tsv": f"text\tf\n{text}\tü\n",
    }[name.partition(".")[2]]
    (row,) = read_bytes({name: content.encode("cp1252")}, encoding="windows-1252").kept
    assert (row["text"], json.loads(row["metadata"])) == (text, {"f": "ü"})


@pytest.mark.parametrize("encoding", ["iso2022_jp", "utf-7"])
def test_where_the_same_text_can_be_written_in_several_ways_there_is_no_place(read_bytes: Read, encoding: str) -> None:
    result = read_bytes({"a.txt": "猫\n犬\n".encode(encoding)}, unit="line", encoding=encoding)
    assert result.texts == ["猫", "犬"]
    assert [row["byte_offset"] for row in result.kept] == [None, None]


@pytest.mark.parametrize("encoding", sorted(SENTENCES))
def test_the_encoding_is_found_and_recorded(read_bytes: Read, encoding: str) -> None:
    text = SENTENCES[encoding] * 20
    mark = codecs.BOM_UTF16_LE if encoding == "utf-16-le" else codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b""
    result = read_bytes({"a.txt": mark + text.encode(encoding), "b.txt": b"plain"}, encoding="detect")
    assert result.texts == [text, "plain"]
    found = json.loads(result.kept[0]["metadata"])["file_encoding"]
    assert text.encode(found) == text.encode({"utf-32": "utf-32-le"}.get(encoding, encoding))
    assert json.loads(result.kept[1]["metadata"]) == {"file_encoding": "utf-8"}


def test_the_encoding_found_is_kept_beside_other_metadata_and_in_quarantine(read_bytes: Read) -> None:
    lines = f'{{"text":"{SENTENCES["cp1251"].strip()}","a":1}}\nbad\n' * 5
    result = read_bytes({"a.jsonl": lines.encode("cp1251")}, encoding="detect")
    assert json.loads(result.kept[0]["metadata"]) == {"a": 1, "file_encoding": "cp1251"}
    assert result.quarantined[0]["error_detail"].endswith("(read as cp1251)")


def test_bytes_beyond_the_sample_decide_too() -> None:
    """A megabyte of ASCII, and one line that is no UTF-8."""
    data = SENTENCES["cp1252"].encode("cp1252") * 5
    assert data.decode(detect_encoding([b"plain text\n" * 100_000, data])) == SENTENCES["cp1252"] * 5


def test_utf16_without_a_mark_is_found() -> None:
    text = "Sixteen bits for every letter.\n" * 9
    assert detect_encoding([text.encode("utf-16-le")]) == "utf-16-le"
    assert detect_encoding([text.encode("utf-16-be")]) == "utf-16-be"
