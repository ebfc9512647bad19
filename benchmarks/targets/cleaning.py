"""The published rules on one core: GopherQuality, GopherRepetition, FineWeb and C4. Against datatrove and dolma.

Both sides split words in two ways: at white space, as this project does by default (datatrove is given a splitter for
it), and with punctuation apart, as datatrove does by default (spaCy; ours is `words: punctuation`). Like is compared
with like, which is the same work with the same verdicts, the default of the peer first: that is the headline. Then our
default is compared with theirs, which is what a user of both would see. NeMo Curator is no peer
here: nemo-curator 1.4.0 resolves to 133 packages, Ray and PyTorch with CUDA's libraries among them, more than a
benchmark should install for filters in plain Python.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from math import isclose
from pathlib import Path
from typing import Any, Final

from benchmarks.cleaning_verdicts import agreements, marks, read_rows, same_text
from benchmarks.corpus import Slice, cut, data, write_warm_up
from benchmarks.environment import peer_python
from benchmarks.harness import Contender, Run, side_by_side, work_folder
from benchmarks.ours.cleaning import WORDS_APART
from benchmarks.result import Machine, Result, Row, today
from benchmarks.target import Options, Target

SUMMARY: Final = "every published rule on one core: Gopher quality and repetition, FineWeb, C4; all statistics recorded"
OURS: Final = "llm_assets"
SAME_WORDS, DEFAULT_WORDS, DOLMA = "datatrove, words at white space", "datatrove as it comes", "dolma"
DOCUMENT_RULES: Final = ("gopher_quality", "gopher_repetition", "fineweb", "c4_documents")
EDITED_RULES: Final = ("gopher_quality", "gopher_repetition", "fineweb", "c4")
KERNELS: Final = ("measure", "judge")
APART: Final = tuple(f"{WORDS_APART}: {phase}" for phase in KERNELS)
WITH_EDITS: Final = (*KERNELS, "C4: edit lines", "C4: measure", "C4: judge")
FRACTION: Final = 0.1
PASSES: Final = 10
DOLMA_NAMES: Final = {
    "characters": "character_count",
    "words": "word_count",
    "alphabetic_word_fraction": "fraction_of_words_with_alpha_character",
}
"""Dolma's names of the statistics that it defines alike."""
NOTES: Final = (
    "“Words as theirs” is `words: punctuation`, which counts punctuation as words as datatrove does. Against "
    "“words at white space” our side splits there too, as it does by default. These two are the same work. In the rows "
    "“as it comes” that do not speak of words, our default stands against theirs, and the verdicts are others; "
    "docs/verdicts.md has them in full.",
    "Reading is timed on neither side, and start-up is not: all ran over five documents first, in the same process. "
    "CPU-seconds are counted inside the process by the same code. The slice is small, since datatrove is slow; "
    f"llm_assets takes the mean of {PASSES} passes over the same documents.",
    "“All rules” is: every statistic of every document measured and kept, and each document judged by all four rule "
    "sets, every broken rule listed. datatrove's four filters each get every document too, and stop at the first rule "
    "broken; of C4 both sides have the rules about documents alone. Where its filters follow one another, what one "
    "drops the next does not see: that is the row “as a chain”.",
    "“With C4's line edits” adds the edits, and on our side all statistics a second time, of what the edits leave. It "
    "is C4 as datatrove has it by default: its rules about documents alone cost it more, since it then splits every "
    "line into sentences, and not only those that the edits leave.",
    "The whole stage also normalises to NFC, hashes the text, sorts documents into kept and rejected, with their "
    "statistics and reasons, and accounts for every one; datatrove's filters do none of that.",
    "datatrove's words are split once for the three filters that use them: they run in the order in which its cache "
    "of the last five texts serves all three. At white space, sentences are counted by their marks, without spaCy.",
    "dolma's `gopher_v1` and `c4_v2` compute numbers and judge nothing. `gopher_v1` has most of Gopher's rules under "
    "its own definitions; `c4_v2` has no sentences, but a list of bad words; there is nothing of FineWeb.",
)


def measure(options: Options) -> Result:
    """Run all contenders on a slice of the technical corpus. Raises BenchmarkError."""
    source = data("technical-corpus/part-00.jsonl.zst")
    machine = Machine.here()
    with work_folder("cleaning") as work:
        corpus = cut(source, options.fraction or FRACTION, work / "corpus.jsonl.zst")
        write_warm_up(work / "warm-up.jsonl.zst")
        job = {"corpus": str(corpus.path), "warm_up": str(work / "warm-up.jsonl.zst")}
        runs = side_by_side(_contenders(), job, options.rounds, work)
        notes = (*_found(corpus, {name: each[0].folder for name, each in runs.items()}), *NOTES)
    versions = {name: version for run in runs.values() for name, version in run[0].report["versions"].items()}
    return Result("cleaning", SUMMARY, _rows(corpus, runs), notes, versions, machine, today())


CLEANING = Target("cleaning", SUMMARY, measure)


def _contenders() -> list[Contender]:
    datatrove, module = peer_python("datatrove"), "benchmarks.peers.datatrove_cleaning"
    return [
        Contender(OURS, Path(sys.executable), "benchmarks.ours.cleaning", {"passes": PASSES}),
        Contender(SAME_WORDS, datatrove, module, {"words": "white space", "marks": marks()}),
        Contender(DEFAULT_WORDS, datatrove, module, {"words": "default"}),
        Contender(DOLMA, peer_python("dolma"), "benchmarks.peers.dolma_cleaning"),
    ]


def _rows(corpus: Slice, runs: Mapping[str, Sequence[Run]]) -> tuple[Row, ...]:
    """The headline first: MB (10⁶ bytes) of text per CPU-second."""

    def speeds(name: str, phases: Sequence[str]) -> tuple[float, ...]:
        return tuple(corpus.bytes / 1e6 / sum(run.report["cpu"][phase] for phase in phases) for run in runs[name])

    def row(figure: str, ours: Sequence[str], peer: str, theirs: Sequence[str]) -> Row:
        version = runs[peer][0].report["versions"][peer.split()[0].rstrip(",")]
        against = peer.replace("datatrove", f"datatrove {version}").replace("dolma", f"dolma {version}")
        return Row(figure, "MB/s of CPU", against, speeds(OURS, ours), speeds(peer, theirs))

    rows = [
        row("all rules, words as theirs", APART, DEFAULT_WORDS, DOCUMENT_RULES),
        row("all rules as a chain, words as theirs", APART, DEFAULT_WORDS, ["chain"]),
        row("the whole stage, words as theirs", [f"{WORDS_APART}: stage"], DEFAULT_WORDS, DOCUMENT_RULES),
        *(
            each
            for peer in (SAME_WORDS, DEFAULT_WORDS)
            for each in (
                row("all rules", KERNELS, peer, DOCUMENT_RULES),
                row("all rules, as a chain", KERNELS, peer, ["chain"]),
                row("all rules with C4's line edits", WITH_EDITS, peer, EDITED_RULES),
                row("the whole stage", ["stage"], peer, DOCUMENT_RULES),
                row("the whole stage with language and PII", ["stage with language and PII"], peer, DOCUMENT_RULES),
            )
        ),
    ]
    return (*rows, row("Gopher's and C4's numbers", KERNELS, DOLMA, ["gopher_v1", "c4_v2"]))


def _found(corpus: Slice, folders: Mapping[str, Path]) -> list[str]:
    """The results that agree on both sides, where they compute the same."""
    ours, apart = read_rows(folders[OURS]), read_rows(folders[OURS] / WORDS_APART)
    theirs = {name: read_rows(folders[name]) for name in (SAME_WORDS, DEFAULT_WORDS)}
    compared = {
        f"{DEFAULT_WORDS} (words as theirs)": (apart, theirs[DEFAULT_WORDS]),
        SAME_WORDS: (ours, theirs[SAME_WORDS]),
        DEFAULT_WORDS: (ours, theirs[DEFAULT_WORDS]),
    }
    rule_sets = (*DOCUMENT_RULES, "c4")
    same, kept = same_text(ours, theirs[SAME_WORDS])
    return [
        f"{corpus.documents:,} documents of the technical corpus, {corpus.bytes / 1e6:.2f} MB of text in UTF-8.",
        *(
            f"Verdicts that agree with {name}: "
            + "; ".join(each.sentence() for each in agreements(mine, other, rule_sets))
            + "."
            for name, (mine, other) in compared.items()
        ),
        f"C4's line edits leave the same text of {same:,} of the {kept:,} documents that both sides keep (words at "
        "white space).",
        _same_numbers(ours, folders[DOLMA]),
    ]


def _same_numbers(ours: Sequence[Mapping[str, Any]], folder: Path) -> str:
    """On how many documents dolma has our number, where both mean the same."""
    theirs = [row["attributes"] for row in read_rows(folder, "attributes.jsonl")]
    equal = {
        mine: sum(
            isclose(one["numbers"][mine], other.get(name, 0), abs_tol=1e-9)
            for one, other in zip(ours, theirs, strict=True)
        )
        for mine, name in DOLMA_NAMES.items()
    }
    told = ", ".join(f"`{name}` for {count:,}" for name, count in equal.items())
    return f"The same numbers as dolma's, of {len(theirs):,} documents: {told}."
