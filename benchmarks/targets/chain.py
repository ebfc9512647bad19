"""From jsonl.zst to tokens on one core: NFC, Gopher quality, exact deduplication, GPT-2 tokens. Against datatrove.

datatrove runs twice: split into words as it comes (spaCy), and split at white space, as this project does. Only the
latter is the same work: with spaCy's words, of which punctuation is many, its rule on alphabetic words rejects most
of a technical corpus, so that little is left to tokenize. It is the faster of the two, and the headline.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.corpus import Slice, cut, data, write_warm_up
from benchmarks.environment import peer_python
from benchmarks.harness import BenchmarkError, Contender, Run, side_by_side, work_folder
from benchmarks.ours.chain import CORPUS, SNAPSHOT
from benchmarks.outcome import ChainOutcome, compare, tokens_digest
from benchmarks.result import Better, Machine, Result, Row, today
from benchmarks.target import Options, Target
from llm_assets.contract.documents import KeptDocuments
from llm_assets.contract.stage import Disposition
from llm_assets.contract.verdicts import JudgedDocuments
from llm_assets.stages.clean.columns import CLEANED_SCHEMA
from llm_assets.stages.dedup.columns import VERDICT_SCHEMA
from llm_assets.store.folder import Folder
from llm_assets.store.layout import Store
from llm_assets.store.token_set import TokenSet

SUMMARY = "jsonl.zst to tokens on one core: read, NFC and Gopher quality, exact deduplication, GPT-2 tokens"
OURS = "llm_assets"
SAME_WORDS, DEFAULT_WORDS = "datatrove, words at white space", "datatrove as it comes"
STAGES = {
    "read": "read",
    "clean": "NFC and Gopher quality",
    "dedup": "exact deduplication",
    "tokenize": "tokenize",
}
NOTES = (
    "Without start-up: both ran the whole chain on five documents first, in the same process, so that imports, "
    "kernels, spaCy and caches were loaded; then CPU-seconds were counted inside the process by the same code. The "
    "whole process has all of that in it.",
    "llm_assets runs through the links of the chain, without Dagster; it stores every stage with its rejected "
    "documents and their reasons, runs the checks of each asset (which recount what was written and compare sampled "
    "ids with the reference tokenizer) and commits. “Without our checks” leaves only the checks out. datatrove checks "
    "nothing and here stores only the cleaned documents (zstd JSONL, once) and the tokens.",
    "Stages: ours include their storing. datatrove's reader stores nothing; its cleaned documents are written in "
    "“NFC and Gopher quality”; reading them back twice is part of its deduplication, which takes three steps. Its NFC "
    "is its ftfy formatter with all else switched off. Its tokens are not shuffled.",
    "The slice is small, so that datatrove is done in minutes. What a partition costs whatever its size (ours above "
    "all: loading the tokenizer, for the work and again for its checks) is in every figure; `--fraction 1` takes five "
    "times as much text.",
    "The same work is `datatrove, words at white space`. As it comes it counts spaCy's words, most punctuation among "
    "them, so fewer words are alphabetic and it rejects more, which leaves it less to tokenize.",
)


def measure(options: Options) -> Result:
    """Run all contenders on a slice of the technical corpus. Raises BenchmarkError."""
    source, tokenizer = data("technical-corpus/part-00.jsonl.zst"), data("gpt2/tokenizer.json")
    datatrove = peer_python("datatrove")
    contenders = [
        Contender(OURS, Path(sys.executable), "benchmarks.ours.chain"),
        *(
            Contender(name, datatrove, "benchmarks.peers.datatrove_chain", {"words": words})
            for name, words in [(SAME_WORDS, "white space"), (DEFAULT_WORDS, "default")]
        ),
    ]
    machine = Machine.here()
    with work_folder("chain") as work:
        corpus = cut(source, options.fraction or 0.2, work / "corpus.jsonl.zst")
        write_warm_up(work / "warm-up.jsonl.zst")
        job = {
            "corpus": str(corpus.path),
            "warm_up": str(work / "warm-up.jsonl.zst"),
            "tokenizer": str(tokenizer),
        }
        runs = side_by_side(contenders, job, options.rounds, work)
        notes = _notes(corpus, runs)
    versions = {name: version for run in runs.values() for name, version in run[0].report["versions"].items()}
    rows = (*_rows(corpus, runs, SAME_WORDS), *_rows(corpus, runs, DEFAULT_WORDS))
    return Result("chain", SUMMARY, rows, notes, versions, machine, today())


CHAIN = Target("chain", SUMMARY, measure)


def _rows(corpus: Slice, runs: Mapping[str, Sequence[Run]], peer: str) -> list[Row]:
    """The figures against one peer, the headline first: MB (10⁶ bytes) of the text that came in."""

    def speed(figure: str, ours: Callable[[Run], float], theirs: Callable[[Run], float], unit: str) -> Row:
        megabytes = corpus.bytes / 1e6
        return Row(
            figure,
            unit,
            against,
            tuple(megabytes / ours(run) for run in runs[OURS]),
            tuple(megabytes / theirs(run) for run in runs[peer]),
        )

    def cpu_speed(figure: str, ours: Callable[[Run], float], theirs: Callable[[Run], float] | None = None) -> Row:
        return speed(figure, ours, theirs or ours, "MB/s of CPU")

    against = peer.replace("datatrove", f"datatrove {runs[peer][0].report['versions']['datatrove']}")
    return [
        cpu_speed("chain, without start-up", lambda run: run.timed_cpu),
        cpu_speed(
            "chain, without start-up and without our checks",
            lambda run: sum(run.report["cpu"][stage] for stage in STAGES),
            lambda run: run.timed_cpu,
        ),
        speed(
            "chain, without start-up, by the clock",
            lambda run: run.report["wall"],
            lambda run: run.report["wall"],
            "MB/s",
        ),
        cpu_speed("whole process, with start-up", lambda run: run.cpu),
        *(
            cpu_speed(f"stage: {title}", lambda run, stage=stage: run.report["cpu"][stage])
            for stage, title in STAGES.items()
        ),
        Row(
            "peak memory",
            "MB",
            against,
            tuple(run.peak_memory / 1e6 for run in runs[OURS]),
            tuple(run.peak_memory / 1e6 for run in runs[peer]),
            Better.LOWER,
        ),
    ]


def _notes(corpus: Slice, runs: Mapping[str, Sequence[Run]]) -> tuple[str, ...]:
    ours = our_outcome(runs[OURS][0].folder)
    compared = [
        f"Against {peer}: {sentence}."
        for peer in (SAME_WORDS, DEFAULT_WORDS)
        for sentence in compare(ours, their_outcome(runs[peer][0].folder), corpus.documents)
    ]
    size = f"{corpus.documents:,} documents of the technical corpus, {corpus.bytes / 1e6:.2f} MB of text in UTF-8."
    return size, *compared, *NOTES


def our_outcome(folder: Path) -> ChainOutcome:
    """The outcome of `benchmarks.ours.chain` for each document."""
    store = Store(Folder(f"{folder}/store"))
    tokens = TokenSet.open(store.tokenized(CORPUS, SNAPSHOT))
    cleaned = store.documents(CORPUS, "cleaned", CLEANED_SCHEMA).snapshot(SNAPSHOT)
    verdicts = store.documents(CORPUS, "deduped", VERDICT_SCHEMA).snapshot(SNAPSHOT)
    if verdicts is None or tokens is None or cleaned is None:
        raise BenchmarkError(f"{OURS} committed nothing in {store.root.uri}")
    names = {
        doc_id: name
        for batch in JudgedDocuments(verdicts.manifest, KeptDocuments(cleaned), verdicts).batches(["doc_id", "id"])
        for doc_id, name in zip(batch["doc_id"].to_pylist(), batch["id"].to_pylist(), strict=True)
    }
    kept: dict[str, str] = {}
    for batch in tokens.batches():
        for doc_id, ids in zip(batch["doc_id"].to_pylist(), batch["input_ids"], strict=True):
            kept[names[doc_id]] = tokens_digest(ids.values.to_numpy())
    rejected = {
        name: reasons[0]["rule"]
        for batch in cleaned.batches(Disposition.REJECTED, ["id", "reasons"])
        for name, reasons in zip(batch["id"].to_pylist(), batch["reasons"].to_pylist(), strict=True)
    }
    return ChainOutcome(kept, rejected)


def their_outcome(folder: Path) -> ChainOutcome:
    """The outcome of `benchmarks.peers.datatrove_chain`: its token file is uint16, its index uint64."""
    verdicts = json.loads((folder / "verdicts.json").read_text())
    [path] = (folder / "tokens").glob("*.ds")
    ids = np.fromfile(path, "<u2")
    ends = np.fromfile(f"{path}.index", "<u8").astype(np.int64)
    spans = pairwise([0, *ends.tolist()])
    kept = {name: tokens_digest(ids[begin:end]) for name, (begin, end) in zip(verdicts["kept"], spans, strict=True)}
    return ChainOutcome(kept, verdicts["rejected"])
