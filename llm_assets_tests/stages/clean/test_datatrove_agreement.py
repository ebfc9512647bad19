"""On real text, with the same words, every rule set decides as datatrove does, but for what is listed here."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from llm_assets.stages.clean.count import StopWords
from llm_assets.stages.clean.judge import judge
from llm_assets.stages.clean.line_edits import LineEdits, edit_lines
from llm_assets.stages.clean.measure import measure
from llm_assets.stages.clean.published_rules import C4, GOPHER_STOP_WORDS, FineWeb, GopherQuality, GopherRepetition
from llm_assets.stages.clean.rules import RuleSet
from llm_assets.stages.clean.unicode_classes import CODE_POINTS, is_closing, is_terminal
from llm_assets_tests.stages.clean.odd_text import column, real_data

DATATROVE = Path(__file__).parents[3] / ".bench" / "datatrove" / "bin" / "python"
LINES = LineEdits(
    max_word_length=1000,
    citations=True,
    terminal_punctuation=True,
    min_words=3,
    javascript=True,
    policy=True,
    strip=True,
)


def technical_texts(part: int, documents: int) -> list[str]:
    path = real_data(f"technical-corpus/part-{part:02}.jsonl.zst")
    frame = pl.scan_ndjson(path, schema={"text": pl.String}, n_rows=documents).collect()
    return frame["text"].to_list()


def wikitext_articles() -> list[str]:
    text = real_data("wikitext-2/wiki.valid.raw").read_text("utf-8")
    return [article for article in text.split("\n = ") if article.strip()]


def datatrove(texts: list[str]) -> list[dict[str, Any]]:
    if not DATATROVE.exists():
        pytest.skip(f"no {DATATROVE}: make the environment of the benchmarks first")
    characters = [chr(code) for code in range(CODE_POINTS) if not 0xD800 <= code < 0xE000]
    marks = {
        "terminal": "".join(filter(is_terminal, characters)),
        "closing": "".join(filter(is_closing, characters)),
    }
    script = Path(__file__).with_name("datatrove_verdicts.py")
    lines = [json.dumps(each) for each in (marks, *texts)]
    run = subprocess.run([DATATROVE, script], input="\n".join(lines), capture_output=True, text=True, check=True)
    return [json.loads(line) for line in run.stdout.splitlines()]


@cache
def both(name: str) -> tuple[list[str], list[dict[str, Any]], dict[str, list[list[str]]]]:
    """Texts, what datatrove says of them, and by rule set the rules that each breaks here."""
    texts = wikitext_articles() if name == "wikitext" else technical_texts(0, 150)
    given = column(texts)
    edited, _ = edit_lines(given, LINES)
    stop_words = StopWords.of(GOPHER_STOP_WORDS)
    statistics, of_edited = measure(given, stop_words), measure(edited, stop_words)

    def reasons(rule_set: RuleSet, measured: Any) -> list[list[str]]:
        verdicts = judge(measured, list(rule_set.rules("r")))
        return [[reason["rule"] for reason in each] for each in verdicts.reasons().to_pylist()]

    ours = {
        "gopher_quality": reasons(GopherQuality(), statistics),
        "gopher_repetition": reasons(GopherRepetition(), statistics),
        "c4": reasons(C4(), of_edited),
        "fineweb": reasons(FineWeb(), statistics),
    }
    return texts, datatrove(texts), ours


@pytest.mark.slow
@pytest.mark.parametrize("corpus", ["wikitext", "technical"])
@pytest.mark.parametrize("rule_set", ["gopher_quality", "gopher_repetition", "c4", "fineweb"])
def test_verdicts_agree(corpus: str, rule_set: str) -> None:
    texts, theirs, ours = both(corpus)
    assert len(texts) > 60
    kept = [verdict[rule_set] is None for verdict in theirs]
    different = [
        (theirs[number][rule_set], ours[rule_set][number], texts[number][:80])
        for number in range(len(texts))
        if kept[number] == bool(ours[rule_set][number])
    ]
    assert different == []


@pytest.mark.slow
def test_line_edits_leave_the_same_text() -> None:
    texts, theirs, _ = both("wikitext")
    edited = edit_lines(column(texts), LINES)[0].to_pylist()
    kept = [number for number, verdict in enumerate(theirs) if verdict["c4"] is None]
    assert len(kept) > 20
    assert [edited[number] for number in kept] == [theirs[number]["c4_text"] for number in kept]
