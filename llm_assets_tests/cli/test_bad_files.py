from __future__ import annotations

import json
import zlib
from itertools import combinations
from pathlib import Path

import pytest
import zstandard

from llm_assets.store.folder import Folder
from llm_assets_tests.cli.bad_files import NEIGHBOURS, paragraph, plant_bad_files

ERRORS = {
    "malformed_json",
    "not_an_object",
    "invalid_utf8",
    "lone_surrogate",
    "missing_text",
    "text_not_string",
    "empty_document",
    "truncated_file",
    "wrong_format",
    "empty_file",
    "unknown_format",
}


def verdict(line: bytes) -> str:
    """What a line is, decided by the standard library alone."""
    try:
        record = json.loads(line.decode())
    except UnicodeDecodeError:
        return "invalid_utf8"
    except json.JSONDecodeError:
        return "malformed_json"
    if not isinstance(record, dict):
        return "not_an_object"
    if "text" not in record:
        return "missing_text"
    text = record["text"]
    if not isinstance(text, str):
        return "text_not_string"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "lone_surrogate"
    return "good" if text else "empty_document"


def decodable(path: Path) -> bytes:
    """All that can be decompressed of a file, whether or not it ends where it should."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        return zlib.decompressobj(wbits=31).decompress(data)
    if path.suffix == ".zst":
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return data


def test_every_kind_of_error_is_planted_and_counted(tmp_path: Path) -> None:
    expected = plant_bad_files(Folder(str(tmp_path)))
    assert expected.keys() == ERRORS | {"good"}
    found = dict.fromkeys(expected, 0)
    for path in sorted(tmp_path.glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            found[verdict(line)] += 1
    for path in sorted(tmp_path.glob("*.jsonl.*")):
        if path.name != "bad-not-gzip.jsonl.gz":
            found["good"] += sum(verdict(line) == "good" for line in decodable(path).splitlines())
    whole = {"truncated_file": 2, "wrong_format": 2, "empty_file": 1, "unknown_format": 1}
    assert found | whole == expected


def test_bad_lines_stand_between_good_ones(tmp_path: Path) -> None:
    plant_bad_files(Folder(str(tmp_path)))
    for path in tmp_path.glob("bad-*.jsonl"):
        verdicts = [verdict(line) for line in path.read_bytes().splitlines()]
        error = path.stem.removeprefix("bad-")
        assert set(verdicts) <= {"good", error}
        assert all(verdict == "good" for verdict in verdicts[:NEIGHBOURS] + verdicts[-NEIGHBOURS:])


@pytest.mark.parametrize("name", ["bad-truncated.jsonl.gz", "bad-truncated.jsonl.zst"])
def test_truncated_files_end_inside_their_last_record(tmp_path: Path, name: str) -> None:
    plant_bad_files(Folder(str(tmp_path)))
    *lines, rest = decodable(tmp_path / name).split(b"\n")
    assert [verdict(line) for line in lines] == ["good"] * NEIGHBOURS
    assert b'"cut-off"' in rest or rest == b""


def test_good_paragraphs_are_long_plain_and_unlike_each_other() -> None:
    texts = [paragraph(number) for number in range(60)]
    shingles: list[set[tuple[str, ...]]] = []
    for text in texts:
        words = text.lower().replace(".", "").split()
        assert 80 <= len(words) <= 110
        assert 3 <= sum(map(len, words)) / len(words) <= 10
        assert len({"the", "of", "and", "to", "with", "that"} & set(words)) >= 2
        grams = [tuple(words[i : i + 5]) for i in range(len(words) - 4)]
        assert len(set(grams)) == len(grams)
        shingles.append(set(grams))
    assert max(len(a & b) / len(a | b) for a, b in combinations(shingles, 2)) < 0.1


def test_the_same_files_every_time(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert plant_bad_files(Folder(str(first))) == plant_bad_files(Folder(str(second)))
    assert {path.name: path.read_bytes() for path in first.iterdir()} == {
        path.name: path.read_bytes() for path in second.iterdir()
    }
