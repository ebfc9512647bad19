"""PII by patterns: how fast, how precise and how complete. Against presidio's own patterns on presidio's own texts.

The scores are those of `pii_quality`, over all texts, where a span need not be exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any, Final

from benchmarks.harness import BenchmarkError
from benchmarks.pii_quality import OURS, PRESIDIO
from benchmarks.pii_quality import measure as measure_quality
from benchmarks.result import Machine, Result, Row, today
from benchmarks.target import Options, Target

SUMMARY: Final = "PII by patterns on labelled texts: speed, precision and recall"
COUNT: Final = "overlapping"
NOTES: Final = (
    "Without start-up: the patterns were loaded and had seen text before. presidio gets one text after another, on a "
    "blank spaCy pipeline, with its recognizers for these kinds alone; llm_assets a column, the mean of 20 passes.",
    "Precision and recall of all 1,500 texts, of which half (by hash) were looked at when the patterns of llm_assets "
    "were made; `python -m benchmarks.pii_quality` tells the halves apart, and exact spans. Both halves fill the same "
    "templates.",
    "A found span is right where it and a labelled one share at least half of the characters that they cover together.",
)


def measure(options: Options) -> Result:
    """Run both on the labelled texts, which are always all of them. Raises BenchmarkError."""
    if options.fraction is not None:
        raise BenchmarkError("the labelled texts cannot be cut: leave out the fraction")
    machine = Machine.here()
    found = measure_quality(options.rounds)
    notes = (*_findings(found), *NOTES)
    return Result("pii", SUMMARY, tuple(rows(found)), notes, found["versions"], machine, today())


PII = Target("pii", SUMMARY, measure)


def rows(found: Mapping[str, Any]) -> Iterator[Row]:
    """Speed first, then precision and recall, kind by kind."""
    against = f"presidio {found['versions']['presidio-analyzer']}"
    megabytes, seconds = found["bytes"] / 1e6, found["cpu_seconds"]
    ours, theirs = (tuple(megabytes / spent for spent in seconds[name]) for name in (OURS, PRESIDIO))
    yield Row("find", "MB/s of CPU", against, ours, theirs)
    for kind, figure, mine, other in scored(found):
        if mine > 0 and other > 0:
            yield Row(f"{figure}: {kind}", "share", against, (mine,) * len(ours), (other,) * len(ours))


def scored(found: Mapping[str, Any]) -> Iterator[tuple[str, str, float, float]]:
    """Kind, "precision" or "recall", and the share on our side and on presidio's."""
    by_contender = found["scores"]["both"][COUNT]
    for kind, mine in by_contender[OURS].items():
        for figure in ("precision", "recall"):
            yield kind, figure, mine[figure], by_contender[PRESIDIO][kind][figure]


def _findings(found: Mapping[str, Any]) -> Iterator[str]:
    texts, labelled = found["texts"]["both"], found["scores"]["both"][COUNT][OURS]["all"]
    yield (
        f"{texts:,} texts of presidio's research repository, {found['bytes'] / 1e6:.2f} MB, with "
        f"{labelled['right'] + labelled['missed']:,} labelled spans of the kinds that both know; "
        f"presidio took {median(found['cpu_seconds'][PRESIDIO]):.2f} CPU-seconds."
    )
    behind = [
        f"{figure} of {kind} ({mine:.3f} against {other:.3f})"
        for kind, figure, mine, other in scored(found)
        if mine < other
    ]
    yield (
        f"Worse than presidio's: {', '.join(behind)}." if behind else "No precision and no recall is below presidio's."
    )
    unscored = [f"{figure} of {kind}" for kind, figure, mine, other in scored(found) if mine <= 0 or other <= 0]
    if unscored:
        yield f"Zero on one side, so without a ratio: {', '.join(unscored)}."
