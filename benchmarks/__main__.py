"""`python -m benchmarks [TARGET]`: measure all targets or one, and write docs/benchmarks.md.

The last line on stdout is the result of the last target as one JSON object; progress goes to stderr. Exit status 1
where a target could not be measured.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import report
from benchmarks.harness import BenchmarkError, progress
from benchmarks.target import Options, Target
from benchmarks.targets import TARGETS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.list:
        print("\n".join(f"{target.name:10} {target.summary}" for target in TARGETS.values()))
        return 0
    chosen = [TARGETS[options.target]] if options.target else list(TARGETS.values())
    measured = [_measure(target, options) for target in chosen]
    return 0 if all(measured) else 1


def _measure(target: Target, options: argparse.Namespace) -> bool:
    progress(f"{target.name}: {target.summary}")
    try:
        result = target.measure(Options(options.rounds, options.fraction))
    except BenchmarkError as error:
        progress(f"{target.name} could not be measured: {error}")
        return False
    if options.report:
        report.write(result, options.report)
    print(json.dumps(result.line()), flush=True)
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Side by side with the peers.")
    parser.add_argument("target", nargs="?", choices=sorted(TARGETS), help="measure this one alone")
    parser.add_argument("--list", action="store_true", help="list the targets")
    parser.add_argument("--rounds", type=_positive, default=3, help="rounds to measure (3)")
    parser.add_argument("--fraction", type=_fraction, help="of the target's corpus, over 0 and at most 1")
    parser.add_argument("--report", type=Path, default=report.REPORT, help="the document to write")
    parser.add_argument("--no-report", dest="report", action="store_const", const=None, help="write no document")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return value


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not over 0 and at most 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
