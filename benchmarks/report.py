"""`docs/benchmarks.md`: a table of all targets, then what each of them found.

Guarantees that the results can be read back from the document, so that a target which is not run keeps its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from pydantic import TypeAdapter

from benchmarks.harness import ROOT
from benchmarks.result import Result, Row

REPORT = ROOT / "docs/benchmarks.md"
_RESULT = TypeAdapter(Result)
_STORED = re.compile(r"^<!-- result (\{.*\}) -->$", re.MULTILINE)
_PREFACE = """\
# Benchmarks

`make bench` measures all targets and writes this page; `make bench TARGET=name` measures one, the others stay as they
are. Both sides run in turns in one sitting, each in a process of its own, on the same core with one thread. Figures
are medians over the rounds; a ratio over 1 means that this project does better, and its range is that of the single
rounds. Timings of a shared machine are noisy: read a ratio under 1.3 as a tie.
"""


def read_results(text: str) -> dict[str, Result]:
    """The results of a document that `render` wrote, by target."""
    results = [_RESULT.validate_json(found) for found in _STORED.findall(text)]
    return {result.target: result for result in results}


def render(results: Mapping[str, Result]) -> str:
    """The document."""
    ordered = [results[name] for name in sorted(results)]
    rows = [
        f"| [{result.target}](#{result.target}) | {_cell(result.headline.figure)} | {_times(result.headline)} "
        f"| {_cell(result.headline.against)} | {result.measured} |"
        for result in ordered
    ]
    table = ["| target | figure | ratio | against | measured |", "|---|---|---|---|---|", *rows]
    return "\n".join([_PREFACE, *table, "", *map(_section, ordered)])


def write(result: Result, path: Path = REPORT) -> None:
    """Put a result into the document, in the place of the target's former one."""
    results = read_results(path.read_text()) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render({**results, result.target: result}))


def _section(result: Result) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(result.versions.items()))
    rows = [
        f"| {_cell(row.figure)} | {_cell(row.unit)} | {_figure(row.ours)} | {_figure(row.theirs)} "
        f"| {_cell(row.against)} | {_times(row)} | {row.better} |"
        for row in result.rows
    ]
    # No ">" inside the comment: it could end it.
    stored = _RESULT.dump_json(result).decode().replace(">", "\\u003e")
    return "\n".join(
        [
            f"## {result.target}",
            "",
            _one_line(result.summary),
            "",
            "| figure | unit | llm_assets | peer | against | ratio | better |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            *(f"- {_one_line(note)}" for note in result.notes),
            f"- Measured {result.measured} in {len(result.headline.ours)} rounds on {result.machine}.",
            f"- Versions: {versions}.",
            "",
            f"<!-- result {stored} -->",
            "",
        ]
    )


def _times(row: Row) -> str:
    low, high = row.ratio_range
    return f"**{row.ratio:.3g}×** ({low:.3g} to {high:.3g})"


def _figure(values: tuple[float, ...]) -> str:
    return f"{median(values):.3g}" if median(values) < 1000 else f"{median(values):,.0f}"


def _cell(text: str) -> str:
    return _one_line(text).replace("|", "\\|")


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())
