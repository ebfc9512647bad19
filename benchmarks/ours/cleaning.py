"""The cleaning of this project over a file of documents: its kernels one by one, and its whole stage.

The job names the `corpus` and the `warm_up` (jsonl.zst with `id` and `text`), an empty `work` folder and how many
`passes` to make over the corpus, of which CPU-seconds are the mean: one pass over a small slice is too short to time.
Reading is not timed: it yields the batches of the read stage. All is done with words at white space, and what depends
on words again with `WORDS_APART`. `work/verdicts.jsonl` holds what `benchmarks.peers.datatrove_cleaning` writes, with
every rule that a document breaks, and `numbers` of it; `work/punctuation/verdicts.jsonl` the same with the other words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from benchmarks.inside import Stopwatch, contend
from llm_assets.contract.stage import Disposition
from llm_assets.stages.clean.edit.line_edits import edit_lines
from llm_assets.stages.clean.edit.parameters import LineEdits
from llm_assets.stages.clean.judge import judge
from llm_assets.stages.clean.measure.count import StopWords
from llm_assets.stages.clean.measure.measure import measure
from llm_assets.stages.clean.measure.statistics import WordSplit
from llm_assets.stages.clean.parameters import CleanParameters
from llm_assets.stages.clean.published_rules import C4, GOPHER_STOP_WORDS, FineWeb, GopherQuality, GopherRepetition
from llm_assets.stages.clean.rules import RuleSet
from llm_assets.stages.clean.stage import CleanStage
from llm_assets.stages.read.files import InputFile, ReadPart
from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.stages.read.stage import ReadStage
from llm_assets.store.folder import Folder

C4_LINES: Final = LineEdits(
    max_word_length=1000,
    citations=True,
    terminal_punctuation=True,
    min_words=3,
    javascript=True,
    policy=True,
    strip=True,
)
"""C4's edits of lines, before it judges the rest."""

OF_TEXT: Final[Mapping[str, RuleSet]] = {
    "gopher_quality": GopherQuality(),
    "gopher_repetition": GopherRepetition(),
    "fineweb": FineWeb(),
    "c4_documents": C4(),
}
"""The rule sets that judge a text as it is: the four published ones, C4's without its edits of lines."""

OF_EDITED: Final[Mapping[str, RuleSet]] = {"c4": C4()}
"""The rule set that judges what `C4_LINES` leave of a text."""

WORDS_APART: Final[WordSplit] = "punctuation"
"""Words as datatrove has them by default: punctuation apart, and counted."""

_STOP_WORDS: Final = StopWords.of(GOPHER_STOP_WORDS)


def _rules_alone(words: WordSplit) -> CleanStage:
    return CleanStage(
        CleanParameters(
            length=None,
            language=None,
            pii=None,
            words=words,
            gopher_repetition=GopherRepetition(),
            c4=C4(),
            fineweb=FineWeb(),
        )
    )


_STAGES: Final = {
    "stage": _rules_alone("white_space"),
    f"{WORDS_APART}: stage": _rules_alone(WORDS_APART),
    "stage with language and PII": CleanStage(
        CleanParameters(gopher_repetition=GopherRepetition(), c4=C4(), fineweb=FineWeb())
    ),
}

COMMON: Final = ("characters", "words", "alphabetic_word_fraction")

Reasons = list[list[str]]
"""For each document the rules that it breaks, as `<rule set>.<rule>`."""


def reasons_of(
    texts: pa.LargeStringArray,
    rule_sets: Mapping[str, RuleSet],
    stopwatch: Stopwatch,
    words: WordSplit = "white_space",
) -> Reasons:
    """Measure every statistic of each text and judge it by all these rule sets."""
    with stopwatch.phase("measure"):
        statistics = measure(texts, _STOP_WORDS, words)
    with stopwatch.phase("judge"):
        rules = [rule for name, each in rule_sets.items() for rule in each.rules(name)]
        reasons = judge(statistics, rules).reasons()
    return [[reason["rule"] for reason in each] for each in reasons.to_pylist()]


def edited_texts(texts: pa.LargeStringArray, stopwatch: Stopwatch) -> pa.LargeStringArray:
    """The text that C4 keeps of the lines."""
    with stopwatch.phase("edit lines"):
        return edit_lines(texts, C4_LINES)[0]


def verdicts(
    ids: Sequence[str], texts: pa.LargeStringArray, words: WordSplit = "white_space"
) -> Iterator[dict[str, Any]]:
    """A row of `work/verdicts.jsonl` for each document."""
    edited = edited_texts(texts, Stopwatch())
    of_text = reasons_of(texts, OF_TEXT, Stopwatch(), words)
    of_edited = reasons_of(edited, OF_EDITED, Stopwatch(), words)
    for name, broken, broken_edited, text in zip(ids, of_text, of_edited, edited.to_pylist(), strict=True):
        row: dict[str, Any] = {"id": name, "verdicts": {each: [] for each in (*OF_TEXT, *OF_EDITED)}}
        for rule in (*broken, *broken_edited):
            rule_set, _, field = rule.partition(".")
            row["verdicts"][rule_set].append(field)
        yield row if broken_edited else {**row, "c4_text": text}


def _numbers(texts: pa.LargeStringArray) -> list[dict[str, float]]:
    """Those statistics of each text that other tools define alike."""
    statistics = measure(texts, _STOP_WORDS)
    return pa.StructArray.from_arrays([statistics.field(name) for name in COMMON], names=list(COMMON)).to_pylist()


def _batches(corpus: Path) -> list[pa.RecordBatch]:
    part = ReadPart(Folder(str(corpus.parent)), (InputFile(corpus.name, corpus.stat().st_size),))
    outputs = ReadStage(ReadParameters()).process(part)
    return [output.rows[Disposition.KEPT] for output in outputs]


def _clean(batches: Sequence[pa.RecordBatch]) -> Mapping[str, float]:
    """CPU-seconds by phase."""
    of_text, of_edited, apart = Stopwatch(), Stopwatch(), Stopwatch()
    for batch in batches:
        texts = batch["text"]
        reasons_of(texts, OF_TEXT, of_text)
        reasons_of(texts, OF_TEXT, apart, WORDS_APART)
        reasons_of(edited_texts(texts, of_edited), OF_EDITED, of_edited)
        for name, stage in _STAGES.items():
            with of_text.phase(name):
                list(stage.process([batch]))
    named = {"C4": of_edited, WORDS_APART: apart}
    return of_text.cpu | {
        f"{name}: {phase}": spent for name, each in named.items() for phase, spent in each.cpu.items()
    }


def _run(job: Mapping[str, Any]) -> dict[str, Any]:
    _clean(_batches(Path(job["warm_up"])))
    batches = _batches(Path(job["corpus"]))
    stopwatch = Stopwatch()
    for _ in range(job["passes"]):
        for phase, spent in _clean(batches).items():
            stopwatch.add(phase, spent / job["passes"])
    _write_verdicts(Path(job["work"]), batches, "white_space")
    _write_verdicts(Path(job["work"]) / WORDS_APART, batches, WORDS_APART)
    return stopwatch.report()


def _write_verdicts(folder: Path, batches: Sequence[pa.RecordBatch], words: WordSplit) -> None:
    folder.mkdir(exist_ok=True)
    with (folder / "verdicts.jsonl").open("w") as file:
        for batch in batches:
            rows = verdicts(batch["id"].to_pylist(), batch["text"], words)
            for row, numbers in zip(rows, _numbers(batch["text"]), strict=True):
                file.write(json.dumps({**row, "numbers": numbers}) + "\n")


if __name__ == "__main__":
    contend(_run, ["llm-assets", "numba", "numpy", "polars", "pyarrow"])
