"""docs/extending.md: each example runs as it stands there, from a project of its own, and is seen everywhere."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from llm_assets.loader import IGNORED
from llm_assets_tests.cli.bad_files import paragraph
from llm_assets_tests.end_to_end.guide import example_files, write_example
from llm_assets_tests.end_to_end.servers import Place
from llm_assets_tests.loader.sets import write
from llm_assets_tests.plugins import importable

pytestmark = pytest.mark.slow


def land(place: Place, records: Sequence[dict[str, Any]]) -> None:
    folder = place.root / "landing/web/s1"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "records.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records), "utf-8")
    (folder / "_SUCCESS").touch()


def ledger(place: Place, project: Path) -> dict[str, Any]:
    """The ledger of the cleaned snapshot."""
    told = json.loads(place.llm_assets("status", "--json", cwd=project).stdout)
    return next(each for each in told if each["asset"] == "web/cleaned")["ledger"]


def documents(counts: dict[str, Any]) -> dict[str, int]:
    return {name: count["documents"] for name, count in counts.items()}


def cased(number: int, share: float) -> str:
    """A paragraph with about that share of its words in capitals, and with stop words, which are none in capitals."""
    words = paragraph(number).split()
    shouted = [word.upper() if place < share * len(words) else word for place, word in enumerate(words)]
    return " ".join([*shouted, "of", "that"])


def cue(number: int, text: str) -> bytes:
    return f"{number}\r\n00:00:0{number % 10},000 --> 00:00:09,000\r\n{text}\r\n\r\n".encode("cp1252")


def test_a_reader(tmp_path: Path) -> None:
    place, project = Place.make(tmp_path / "place"), write_example(tmp_path / "project", "A reader")
    land(place, [{"text": paragraph(number)} for number in range(20, 30)])
    folder = place.root / "landing/web/s1"
    cues = [cue(number, f"“{paragraph(number)}” – schön!") for number in range(9)]
    (folder / "film.srt").write_bytes(b"".join(cues))
    (folder / "film.2.srt.gz").write_bytes(gzip.compress(cue(10, paragraph(10)) + b"no cue\r\n\r\n"))

    (folder / "more.jsonl").write_text("".join(f'{{"text": "{paragraph(number)}"}}\n' for number in range(30, 40)))
    made = place.llm_assets("run", cwd=project)
    assert made.returncode == 0, made.stdout + made.stderr
    raw = pl.read_delta(str(place.root / "sources/web/raw"))
    read = raw.filter(pl.col("file") == "film.srt").sort("record")
    assert read["id"].to_list() == [str(number) for number in range(9)]
    assert read["text"].to_list() == [f"“{paragraph(number)}” – schön!" for number in range(9)]
    assert read["byte_offset"].to_list() == [len(b"".join(cues[:number])) for number in range(9)]
    assert json.loads(read["metadata"][3]) == {"times": "00:00:03,000 --> 00:00:09,000"}
    lost = raw.filter(disposition="quarantined")
    assert lost.select("file", "record", "error", "error_detail", "raw").rows() == [
        ("film.2.srt.gz", 2, "unreadable", "a cue without times", b"no cue\r\n")
    ]


def test_an_error_of_a_reader_costs_its_file_and_says_whose_code_it_was(tmp_path: Path) -> None:
    place, project = Place.make(tmp_path / "place"), write_example(tmp_path / "project", "A reader")
    land(place, [{"text": paragraph(number)} for number in range(2)])
    (place.root / "landing/web/s1/film.srt").write_bytes(cue(1, paragraph(3)) + b"\x81\r\n\r\n" + cue(2, paragraph(4)))
    refused = place.llm_assets("run", cwd=project)
    told = " ".join((refused.stdout + refused.stderr).split())
    assert refused.returncode == 1 and "quarantine_rate" in told
    module = project / "my_corpus/subtitles.py"
    module.write_text(module.read_text().replace('version = "1"', 'version = "2"'))
    yaml = project / "my_corpus/defs/web/defs.yaml"
    yaml.write_text(yaml.read_text() + "  checks: {max_quarantine_rate: 0.5}\n")
    made = place.llm_assets("run", cwd=project)
    assert made.returncode == 0, made.stdout + made.stderr
    raw = pl.read_delta(str(place.root / "sources/web/raw")).filter(pl.col("file") == "film.srt").sort("record")
    assert raw["text"].to_list() == [paragraph(3), None] and raw["error"].to_list() == [None, "reader_failed"]
    assert raw["error_detail"][1].startswith("my_corpus.subtitles:Subtitles, version 2, failed: UnicodeDecodeError: ")


def test_a_statistic_and_a_rule(tmp_path: Path) -> None:
    place, project = Place.make(tmp_path / "place"), write_example(tmp_path / "project", "A statistic, and a rule")
    calm = [{"text": paragraph(number), "license": "CC0"} for number in range(12)]
    loud = [{"text": cased(number, 0.6), "license": "CC0"} for number in range(12, 17)]
    louder = [{"text": cased(number, 1), "license": "CC0"} for number in range(17, 20)]
    unlicensed = [{"text": paragraph(number)} for number in range(20, 24)]
    land(place, [*calm, *loud, *louder, *unlicensed])

    made = place.llm_assets("run", cwd=project)
    assert made.returncode == 0, made.stdout + made.stderr
    entry = ledger(place, project)
    assert documents(entry["dropped"]) == {"thresholds.custom.licensed.min": 4, "thresholds.custom.shouting.max": 8}
    assert entry["kept"]["documents"] == 12
    shown = place.llm_assets("peek", "web/cleaned", "--dropped", "-n", "20", cwd=project).stdout
    assert "thresholds.custom.shouting.max" in shown

    settings = ["--set", "thresholds.custom.shouting.max=0.9", "--json"]
    found = json.loads(place.llm_assets("whatif", "web", *settings, cwd=project).stdout)
    assert found["kept_after"]["documents"] == 12 + 5

    module = project / "my_corpus/statistics.py"
    module.write_text(module.read_text().replace('version = "1"', 'version = "2"'))
    states = json.loads(place.llm_assets("status", "--json", cwd=project).stdout)
    assert {each["asset"]: each["state"] for each in states}["web/cleaned"] == "stale"


def test_an_edit_of_text(tmp_path: Path) -> None:
    place, project = Place.make(tmp_path / "place"), write_example(tmp_path / "project", "An edit of text")
    signature = "\r\n-- \r\nZoë\r\nzoe@example.com"
    signed = [{"text": paragraph(number) + signature} for number in range(7)]
    land(place, [*signed, *({"text": paragraph(number)} for number in range(7, 20))])

    made = place.llm_assets("run", cwd=project)
    assert made.returncode == 0, made.stdout + made.stderr
    entry = ledger(place, project)
    assert entry["edits"]["custom.signature"]["documents"] == 7
    shorter = len(signature.encode()) - len(b"\r\n")
    assert entry["edits"]["custom.signature"]["bytes"] == 7 * shorter
    assert entry["incoming"]["bytes"] - entry["output"]["bytes"] == 7 * shorter
    assert "zoe@example.com" not in place.llm_assets("peek", "web/cleaned", "-n", "20", cwd=project).stdout


def test_an_error_refuses_the_partition_and_says_whose_code_it_was(tmp_path: Path) -> None:
    place, project = Place.make(tmp_path / "place"), write_example(tmp_path / "project", "An edit of text")
    module = project / "my_corpus/edits.py"
    module.write_text(module.read_text().replace('self._signature.sub("", text)', 'text[: text.index(".")]'))
    land(place, [{"text": paragraph(number)} for number in range(7)] + [{"text": "no sentence, at all"}])
    refused = place.llm_assets("run", cwd=project)
    assert refused.returncode == 1
    told = " ".join((refused.stdout + refused.stderr).split())
    assert "processing_errors" in told and "record 8" in told
    assert "my_corpus.edits:DropSignature, version 1, failed: ValueError: substring not found" in told


def test_a_transform_of_batches(tmp_path: Path) -> None:
    write_example(tmp_path / "project", "A transform of batches")
    shards = write(tmp_path / "set", 400)
    for _ in importable(tmp_path / "project"):
        from my_corpus.definitions import defs, loader  # type: ignore[import-not-found]
        from my_corpus.transforms import SkipTargets  # type: ignore[import-not-found]

        assert defs.resources["loader"] is loader
        targets = skipped = 0
        opened, plain = loader.open(shards), loader.model_copy(update={"transforms": []}).open(shards)
        assert opened.state_dict()["transforms"] == [
            {"use": "my_corpus.transforms:SkipTargets", "version": "1", "parameters": {"probability": 0.1, "seed": 0}}
        ]
        for batch, before in zip(opened, plain, strict=True):
            assert torch.equal(batch["labels"], SkipTargets(0.1)(before)["labels"])
            targets += int((before["labels"] != IGNORED).sum())
            skipped += int(((before["labels"] != IGNORED) & (batch["labels"] == IGNORED)).sum())
            assert torch.equal(batch["input_ids"], before["input_ids"])
        assert 0.05 < skipped / targets < 0.15


@pytest.mark.parametrize("title", ["A reader", "A statistic, and a rule", "An edit of text", "A transform of batches"])
def test_every_example_is_a_package_of_its_own(title: str) -> None:
    files = example_files(title)
    assert len(files) > 1 and all(path.startswith("my_corpus/") for path in files)
