"""Precision and recall of PII on labelled texts, beside presidio's own patterns: `python -m benchmarks.pii_quality`.

Guarantees that both sides are scored by the same code against the same labels, and that figures are given for both
halves of the texts: the patterns were tuned on one, chosen by hash, and not on the other. Both halves fill the same
templates with different values, though, so neither says much about text of another kind.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from benchmarks.corpus import data
from benchmarks.environment import peer_python
from benchmarks.harness import ROOT, BenchmarkError
from benchmarks.inside import Stopwatch
from llm_assets.stages.clean.pii.find import find
from llm_assets.stages.clean.pii.presidio import ENTITIES
from llm_assets.stages.clean.pii.spans import KINDS, PATTERN_KINDS, Kind

OURS: Final = "llm_assets"
PRESIDIO: Final = "presidio"
SCORED: Final = tuple(kind for kind in PATTERN_KINDS if kind in ENTITIES)
"""The kinds that both know: there are no API keys in the texts, and presidio finds none."""

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


def found_by_ours(texts: Sequence[str]) -> tuple[list[Spans], float]:
    """What `find` finds in each text, and the CPU-seconds it took."""
    column = pa.array(texts, pa.large_string())
    find(column[:1])
    stopwatch = Stopwatch()
    with stopwatch.phase("find"):
        spans = find(column)
    found: list[Spans] = [{kind: set() for kind in SCORED} for _ in texts]
    for each in spans.finds():
        encoded = texts[each.document].encode()
        start, stop = (len(encoded[:offset].decode()) for offset in (each.start, each.stop))
        if KINDS[each.kind] in SCORED:
            found[each.document][KINDS[each.kind]].add((start, stop))
    return found, stopwatch.cpu["find"]


def found_by_presidio(texts: Sequence[str]) -> tuple[list[Spans], float, dict[str, str]]:
    """What presidio finds in each text, the CPU-seconds it took, and its versions. Raises BenchmarkError."""
    with tempfile.TemporaryDirectory() as folder:
        job = {"texts": f"{folder}/texts.json", "finds": f"{folder}/finds.json"}
        Path(job["texts"]).write_text(json.dumps(texts))
        entities = [ENTITIES[kind] for kind in SCORED]
        command = [str(peer_python(PRESIDIO)), "-m", "benchmarks.peers.presidio_pii"]
        argument = json.dumps({**job, "entities": entities})
        finished = subprocess.run([*command, argument], cwd=ROOT, capture_output=True, text=True, check=False)
        if finished.returncode:
            raise BenchmarkError(f"{' '.join(command)} failed:\n{finished.stderr.strip()}")
        report = json.loads(finished.stdout.splitlines()[-1])
        kinds = dict(zip(entities, SCORED, strict=True))
        found: list[Spans] = []
        for row in json.loads(Path(job["finds"]).read_text()):
            spans: Spans = {kind: set() for kind in SCORED}
            for entity, start, stop, _ in row:
                spans[kinds[entity]].add((start, stop))
            found.append(spans)
    return found, report["cpu"]["find"], report["versions"]


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


def measure() -> dict[str, Any]:
    """`scores[half][count][contender][kind]` as `Score.as_dict`, `texts` by half, `cpu_seconds`, and `versions`."""
    labelled = read_labelled()
    texts = [each.text for each in labelled]
    ours, our_seconds = found_by_ours(texts)
    theirs, their_seconds, versions = found_by_presidio(texts)
    found = {OURS: ours, PRESIDIO: theirs}
    result: dict[str, Any] = {
        "texts": {half: sum(map(chosen, labelled)) for half, chosen in HALVES.items()},
        "cpu_seconds": {OURS: our_seconds, PRESIDIO: their_seconds},
        "versions": versions,
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
    yield f"\nCPU-seconds: {OURS} {seconds[OURS]:.3f}, {PRESIDIO} {seconds[PRESIDIO]:.3f}. {result['versions']}"


if __name__ == "__main__":
    print("\n".join(table(measure())))
