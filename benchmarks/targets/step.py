"""The time that the loader adds to a training step: none, if it works beside the model.

Held against the same steps on one batch that stays where the model is. On CUDA where there is a device, else the CPU,
where loader and model share one core, and what the loader takes has to show.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from benchmarks.harness import Contender, side_by_side, work_folder
from benchmarks.loading import LENGTH
from benchmarks.ours.step import VOCABULARY
from benchmarks.result import Better, Machine, Result, Row, today
from benchmarks.target import Options, Target

SUMMARY = "a training step with batches of the loader, against the same step on a batch that is there already"
ROWS = 4096
BLOCKS = 12
NOTES = (
    "A ratio of 0.99 means that a step takes 1 % longer with the loader. Both kinds of steps take turns in one process,"
    " in blocks; a figure is the median over the blocks of a round. All four fields, prefetch of 2.",
)


def measure(options: Options) -> Result:
    """Train on random tokens. Raises BenchmarkError."""
    machine = Machine.here()
    with work_folder("step") as work:
        corpus = work / "tokens.bin"
        np.random.default_rng(0).integers(0, VOCABULARY, (ROWS, LENGTH), dtype=np.uint16).tofile(corpus)
        job = {"corpus": str(corpus), "warm_up": str(corpus), "data": str(work)}
        blocks = max(2, int(BLOCKS * (options.fraction or 1.0)))
        ours = Contender("llm_assets", Path(sys.executable), "benchmarks.ours.step", {"blocks": blocks})
        runs = side_by_side([ours], job, options.rounds, work)["llm_assets"]
    reports = [run.report for run in runs]
    row = Row(
        f"a step of {reports[0]['tokens']:,} tokens on {reports[0]['device']}",
        "ms",
        "the same, on a resident batch",
        tuple(report["loader_ms"] for report in reports),
        tuple(report["resident_ms"] for report in reports),
        Better.LOWER,
    )
    waiting = ", ".join(f"{report['waiting_ms']:.3f}" for report in reports)
    notes = (*NOTES, f"What a step waited for its batch, ms, by round: {waiting}.")
    return Result("step", SUMMARY, (row,), notes, reports[0]["versions"], machine, today())


STEP = Target("step", SUMMARY, measure)
