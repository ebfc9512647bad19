from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import zstandard

from benchmarks.corpus import VARIABLE, cut, data, write_warm_up
from benchmarks.harness import BenchmarkError


def records(path: Path) -> list[dict[str, str]]:
    with zstandard.open(path, "rb") as stream:
        return [json.loads(line) for line in io.BufferedReader(stream)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.jsonl.zst"
    lines = [json.dumps({"id": f"doc-{number}", "text": f"caf\u00e9 {number}"}) for number in range(400)]
    path.write_bytes(zstandard.compress("".join(f"{line}\n" for line in lines).encode()))
    return path


def test_a_slice_is_the_same_each_time_and_counts_its_text(source: Path, tmp_path: Path) -> None:
    slices = [cut(source, 0.25, tmp_path / f"{number}.jsonl.zst") for number in range(2)]
    first, second = (records(each.path) for each in slices)
    assert first == second
    assert slices[0].documents == len(first)
    assert slices[0].bytes == sum(len(record["text"].encode()) for record in first)
    assert 50 < len(first) < 150


def test_a_larger_fraction_holds_the_smaller_one(source: Path, tmp_path: Path) -> None:
    parts = [records(cut(source, fraction, tmp_path / str(fraction)).path) for fraction in (0.1, 0.5, 1.0)]
    ids = [{record["id"] for record in part} for part in parts]
    assert ids[0] < ids[1] < ids[2]
    assert parts[2] == records(source)


def test_an_empty_slice_is_an_error(source: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="has no document"):
        cut(source, 1e-9, tmp_path / "none.jsonl.zst")


def test_absent_data_names_the_variable_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(BenchmarkError, match=f"absent.*{VARIABLE}"):
        data("gpt2/tokenizer.json")
    (tmp_path / "gpt2").mkdir()
    assert data("gpt2") == tmp_path / "gpt2"


def test_the_warm_up_has_a_copy_and_a_short_document(tmp_path: Path) -> None:
    write_warm_up(tmp_path / "warm-up.jsonl.zst")
    texts = [record["text"] for record in records(tmp_path / "warm-up.jsonl.zst")]
    assert len(texts) - len(set(texts)) == 1
    assert min(len(text.split()) for text in texts) < 50 < len(texts[0].split())
