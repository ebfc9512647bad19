"""Batches of 32 rows of 1,024 tokens, in order, as int64: how fast, how soon, and how soon from the middle.

Held against the best that is possible (numpy widening uint16 to int64 in memory, in the same process) and against
loaders that people train with.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.environment import peer_python
from benchmarks.harness import BenchmarkError, Contender, Run, side_by_side, work_folder
from benchmarks.loading import LENGTH, ROWS
from benchmarks.result import Better, Machine, Result, Row, today
from benchmarks.target import Options, Target

SUMMARY = "batches of 32 × 1,024 tokens as int64, on one core: tokens per CPU-second, first batch, resume at half"
OURS = "llm_assets"
ALL_ROWS = 500_000
PEERS = {
    "torch Dataset on memmap": ("memmap", "loaders", "torch"),
    "HF datasets": ("datasets", "loaders", "datasets"),
    "litdata": ("litdata", "loaders", "litdata"),
    "WebDataset": ("webdataset", "loaders", "webdataset"),
    "MosaicML Streaming": ("mosaicml-streaming", "streaming", "mosaicml-streaming"),
}
LIMIT = "the limit of widening"
NOTES = (
    "All loaders deliver the same rows in the same order, checked by what the first batch and the one at half hold. "
    "They read in the process that trains, with files in the page cache; on one core worker processes only cost.",
    "The limit is numpy.copyto from uint16 to int64, in memory larger than any cache, in our own process. "
    "Where several fields are asked for, each is as large as input_ids: two have half the limit, four a quarter.",
    "First batch and resume: from opening to the batch, imports done, the least of five. The bare memmap opens "
    "nothing but one file and keeps no state; its resume is a slice by hand. WebDataset reads all rows before.",
)


def measure(options: Options) -> Result:
    """Run all loaders on random tokens. Raises BenchmarkError."""
    contenders = [Contender(OURS, Path(sys.executable), "benchmarks.ours.loader")]
    for name, (peer, environment, _) in PEERS.items():
        contenders.append(Contender(name, peer_python(environment), "benchmarks.peers.loaders", {"peer": peer}))
    machine = Machine.here()
    rows = max(4 * ROWS, int(ALL_ROWS * (options.fraction or 0.1)))
    with work_folder("loader") as work:
        corpus = work / "tokens.bin"
        np.random.default_rng(0).integers(0, 50257, (rows, LENGTH), dtype=np.uint16).tofile(corpus)
        (work / "data").mkdir()
        job = {"corpus": str(corpus), "warm_up": str(corpus), "data": str(work / "data")}
        runs = side_by_side(contenders, job, options.rounds, work)
    _check_content(runs)
    versions = {name: version for run in runs.values() for name, version in run[0].report["versions"].items()}
    notes = (f"{rows:,} rows of random tokens.", *NOTES)
    return Result("loader", SUMMARY, _rows(runs), notes, versions, machine, today())


LOADER = Target("loader", SUMMARY, measure)


def _check_content(runs: Mapping[str, Sequence[Run]]) -> None:
    """Raises BenchmarkError where a loader delivered other rows than we do."""
    ours = runs[OURS][0].report
    for name, taken in runs.items():
        for place in ("first", "half"):
            if any(run.report[place] != ours[place] for run in taken):
                raise BenchmarkError(f"{name} delivers other rows as its {place} batch")


def _rows(runs: Mapping[str, Sequence[Run]]) -> tuple[Row, ...]:
    """The best peer first, then each peer and the limit."""

    def figures(name: str, field: str) -> tuple[float, ...]:
        return tuple(run.report[field] for run in runs[name])

    def row(title: str, unit: str, field: str, peer: str, better: Better = Better.HIGHER) -> Row:
        version = runs[peer][0].report["versions"][PEERS[peer][2]]
        return Row(title, unit, f"{peer} {version}", figures(OURS, field), figures(peer, field), better)

    by_speed = sorted(PEERS, key=lambda name: -median(figures(name, "mtok_per_second")))
    speeds = [row("input_ids", "Mtok/s of CPU", "mtok_per_second", peer) for peer in by_speed]
    limits = [
        Row(title, "Mtok/s of CPU", LIMIT, figures(OURS, field), figures(OURS, "limit"))
        for title, field in (
            ("input_ids", "mtok_per_second"),
            ("input_ids and labels", "with_labels"),
            ("input_ids, labels, position_ids and document_ids", "all_fields"),
        )
    ]
    starts = [row("first batch", "ms", "first_ms", peer, Better.LOWER) for peer in by_speed]
    resumes = [row("resume at half", "ms", "resume_ms", peer, Better.LOWER) for peer in by_speed]
    return (*speeds, *limits, *starts, *resumes)
