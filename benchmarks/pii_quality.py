"""Precision and recall of PII on labelled texts, beside presidio's own patterns: `python -m benchmarks.pii_quality`.

Guarantees that both sides are scored by the same code against the same labels, and that figures are given for both
halves of the texts: the patterns were tuned on one, chosen by hash, and not on the other. Both halves fill the same
templates with different values, though, so neither says much about text of another kind.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.corpus import data
from benchmarks.environment import peer_python
from benchmarks.harness import Contender, Run, side_by_side, work_folder
from llm_assets.stages.clean.pii.presidio import ENTITIES
from llm_assets.stages.clean.pii.spans import PATTERN_KINDS, Kind

OURS: Final = "llm_assets"
PRESIDIO: Final = "presidio"
SCORED: Final = tuple(kind for kind in PATTERN_KINDS if kind in ENTITIES)
"""The kinds that both know: there are no API keys in the texts, and presidio finds none."""

PASSES: Final = 20

Extent = tuple[int, int]
Spans = dict[Kind, set[Extent]]
"""Start and stop, in characters, of one text's spans."""


@dataclass(frozen=True)
class Labelled:
    """A text and what is in it."""

    text: str
    spans: Spans

    @property
    def held_out(self) -> bool:
        """Whether it was not looked at while the patterns were made."""
        return hashlib.blake2b(self.text.encode(), digest_size=1).digest()[0] % 2 == 1


@dataclass(frozen=True)
class Score:
    """Spans found that are labelled, found that are not, and labelled that were not found."""

    right: int = 0
    wrong: int = 0
    missed: int = 0

    def __add__(self, other: Score) -> Score:
        return Score(self.right + other.right, self.wrong + other.wrong, self.missed + other.missed)

    @property
    def precision(self) -> float:
        """1 where nothing was found."""
        return self.right / (self.right + self.wrong) if self.right + self.wrong else 1.0

    @property
    def recall(self) -> float:
        """1 where there was nothing to find."""
        return self.right / (self.right + self.missed) if self.right + self.missed else 1.0

    def as_dict(self) -> dict[str, float]:
        """The counts and both ratios."""
        counts = {"right": self.right, "wrong": self.wrong, "missed": self.missed}
        return {**counts, "precision": self.precision, "recall": self.recall}


@dataclass(frozen=True)
class Found:
    """The spans that one run found in each text, its CPU-seconds, and the versions of its finder."""

    spans: Sequence[Spans]
    cpu: float
    versions: Mapping[str, str]


Count = Callable[[set[Extent], set[Extent]], Score]


def exact(labelled: set[Extent], found: set[Extent]) -> Score:
    """A span is right if it is labelled from the same character to the same character."""
    right = len(labelled & found)
    return Score(right, len(found) - right, len(labelled) - right)


def overlapping(labelled: set[Extent], found: set[Extent]) -> Score:
    """A span is right if it shares at least half of the characters that it and a labelled one cover together."""
    right = sum(any(_shared(label, each) >= 0.5 for each in found) for label in labelled)
    wrong = sum(all(_shared(label, each) < 0.5 for label in labelled) for each in found)
    return Score(right, wrong, len(labelled) - right)


def _shared(left: Extent, right: Extent) -> float:
    common = min(left[1], right[1]) - max(left[0], right[0])
    return max(0, common) / (max(left[1], right[1]) - min(left[0], right[0]))


def read_labelled() -> list[Labelled]:
    """The 1,500 texts of presidio's research repository, with the labels of the kinds scored."""
    kinds = {entity: kind for kind, entity in ENTITIES.items() if kind in SCORED}
    records = json.loads((data("presidio") / "synth_dataset_v2.json").read_text())
    labelled: list[Labelled] = []
    for record in records:
        spans: Spans = {kind: set() for kind in SCORED}
        for span in record["spans"]:
            if span["entity_type"] in kinds:
                spans[kinds[span["entity_type"]]].add((span["start_position"], span["end_position"]))
        labelled.append(Labelled(record["full_text"], spans))
    return labelled


def run_both(texts: Sequence[str], rounds: int) -> dict[str, list[Found]]:
    """The spans that each finder finds in the texts, in every round, in turns. Raises BenchmarkError."""
    contenders = [
        Contender(OURS, Path(sys.executable), "benchmarks.ours.pii", {"passes": PASSES}),
        Contender(PRESIDIO, peer_python(PRESIDIO), "benchmarks.peers.presidio_pii"),
    ]
    with work_folder("pii") as work:
        (work / "texts.json").write_text(json.dumps(texts))
        job = {"texts": str(work / "texts.json"), "entities": [ENTITIES[kind] for kind in SCORED], "warm_up": None}
        runs = side_by_side(contenders, job, rounds, work)
        return {name: [_found(run) for run in each] for name, each in runs.items()}


def _found(run: Run) -> Found:
    kinds = {ENTITIES[kind]: kind for kind in SCORED}
    found: list[Spans] = []
    for row in json.loads((run.folder / "finds.json").read_text()):
        spans: Spans = {kind: set() for kind in SCORED}
        for entity, start, stop, _ in row:
            spans[kinds[entity]].add((start, stop))
        found.append(spans)
    return Found(found, run.timed_cpu, run.report["versions"])


def scores(labelled: Sequence[Labelled], found: Sequence[Spans], count: Count) -> dict[str, Score]:
    """The score of each kind, and of "all"."""
    by_kind = {kind.value: Score() for kind in SCORED}
    for text, spans in zip(labelled, found, strict=True):
        for kind in SCORED:
            by_kind[kind.value] += count(text.spans[kind], spans[kind])
    return {**by_kind, "all": sum(by_kind.values(), Score())}


HALVES: Final[dict[str, Callable[[Labelled], bool]]] = {
    "tuned on": lambda text: not text.held_out,
    "held out": lambda text: text.held_out,
    "both": lambda _: True,
}
COUNTS: Final[dict[str, Count]] = {"exact": exact, "overlapping": overlapping}


def measure(rounds: int = 1) -> dict[str, Any]:
    """`scores[half][count][contender][kind]` as `Score.as_dict`, and the rest that a report needs.

    That is `texts` by half, `bytes` of them all in UTF-8, `cpu_seconds` by contender and round, and `versions`.
    """
    labelled = read_labelled()
    texts = [each.text for each in labelled]
    runs = run_both(texts, rounds)
    found = {name: each[0].spans for name, each in runs.items()}
    result: dict[str, Any] = {
        "texts": {half: sum(map(chosen, labelled)) for half, chosen in HALVES.items()},
        "bytes": sum(len(text.encode()) for text in texts),
        "cpu_seconds": {name: [run.cpu for run in each] for name, each in runs.items()},
        "versions": {name: version for each in runs.values() for name, version in each[0].versions.items()},
        "scores": {},
    }
    for half, chosen in HALVES.items():
        rows = [number for number, each in enumerate(labelled) if chosen(each)]
        result["scores"][half] = {
            name: {
                contender: {
                    kind: score.as_dict()
                    for kind, score in scores(
                        [labelled[row] for row in rows], [spans[row] for row in rows], count
                    ).items()
                }
                for contender, spans in found.items()
            }
            for name, count in COUNTS.items()
        }
    return result


def table(result: dict[str, Any]) -> Iterator[str]:
    """The result as lines of Markdown."""
    for half, by_count in result["scores"].items():
        for count, by_contender in by_count.items():
            yield f"\n{half} ({result['texts'][half]:,} texts), {count} spans:\n"
            yield f"| kind | labelled | {OURS}: precision | recall | {PRESIDIO}: precision | recall |"
            yield "|---|---|---|---|---|---|"
            for kind, ours in by_contender[OURS].items():
                theirs = by_contender[PRESIDIO][kind]
                figures = [each[name] for each in (ours, theirs) for name in ("precision", "recall")]
                yield f"| {kind} | {ours['right'] + ours['missed']} | " + " | ".join(f"{x:.3f}" for x in figures) + " |"
    seconds = result["cpu_seconds"]
    ours, theirs = (median(seconds[name]) for name in (OURS, PRESIDIO))
    yield f"\nCPU-seconds: {OURS} {ours:.4f}, {PRESIDIO} {theirs:.3f}. {result['versions']}"


if __name__ == "__main__":
    print("\n".join(table(measure())))
