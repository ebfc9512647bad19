"""The chain of this project without Dagster: raw, cleaned, deduped, tokenized, each staged, checked and committed.

The job names the `corpus` and the `warm_up` (jsonl.zst), the `tokenizer` (tokenizer.json) and an empty `work` folder.
What the run made stays in the store `work/store`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.inside import Stopwatch, contend
from llm_assets.contract.engine import LocalEngine
from llm_assets.contract.link import Link, Work
from llm_assets.contract.snapshots import Snapshots
from llm_assets.stages.clean.link import CleanedLink
from llm_assets.stages.clean.parameters import CleanParameters
from llm_assets.stages.dedup.link import DedupedLink
from llm_assets.stages.dedup.parameters import DedupParameters
from llm_assets.stages.read.link import RawLink
from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.stages.tokenize.link import TokenizedLink
from llm_assets.stages.tokenizer.link import TokenizerLink, TokenizerParameters
from llm_assets.store.folder import Folder
from llm_assets.store.layout import SUCCESS, Store
from llm_assets.store.manifest import Staged

CORPUS, SNAPSHOT = "corpus", "all"
STAGES = {"raw": "read", "cleaned": "clean", "deduped": "dedup", "tokenized": "tokenize"}


def tokenized_link(source: str, tokenizer: TokenizerLink) -> TokenizedLink:
    """The links of a source up to its tokens: NFC, Gopher quality and no other rule, exact deduplication."""
    raw = RawLink(source, ReadParameters())
    cleaned = CleanedLink(source, raw, CleanParameters(length=None))
    return TokenizedLink(source, DedupedLink(source, cleaned, DedupParameters()), tokenizer)


def _make(link: Link[Any], store: Store, partition: str, stopwatch: Stopwatch, phase: str) -> None:
    with stopwatch.phase(phase):
        staged: Staged = link.make(Work(store, LocalEngine(1), partition))
    with stopwatch.phase(f"{phase}: checks"):
        outcomes = list(link.check(staged, store))
    blocking = {check.name for check in link.checks if check.blocking}
    failed = [outcome.message for outcome in outcomes if not outcome.passed and outcome.check in blocking]
    if failed:
        raise SystemExit(f"{link.asset} failed its checks: {'; '.join(failed)}")
    with stopwatch.phase(phase):
        staged.commit()


def _run_chain(store: Store, source: str, corpus: Path, tokenizer: TokenizerLink) -> Stopwatch:
    landing = Path(store.landing.path) / source / SNAPSHOT
    landing.mkdir(parents=True)
    shutil.copyfile(corpus, landing / corpus.name)
    (landing / SUCCESS).touch()
    tokenized = tokenized_link(source, tokenizer)
    Snapshots(source).register(store)
    stopwatch = Stopwatch()
    for link in tokenized.lineage:
        _make(link, store, SNAPSHOT, stopwatch, STAGES[link.asset.split("/")[-1]])
    return stopwatch


def _run(job: Mapping[str, Any]) -> dict[str, Any]:
    store = Store(Folder(f"{job['work']}/store"))
    tokenizer = TokenizerLink("gpt2", TokenizerParameters(path=job["tokenizer"]))
    _make(tokenizer, store, "", Stopwatch(), "tokenizer")
    _run_chain(store, "warm-up", Path(job["warm_up"]), tokenizer)
    return _run_chain(store, CORPUS, Path(job["corpus"]), tokenizer).report()


if __name__ == "__main__":
    contend(_run, ["llm-assets", "polars", "pyarrow", "numba", "gigatoken", "deltalake"])
