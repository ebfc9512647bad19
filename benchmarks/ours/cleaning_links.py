"""The links to raw and cleaned over what has landed, with their checks and descriptions, and how much memory it took.

The job names the `landed` folder (that of a store: source `corpus`, snapshot `all`), an empty `work` folder and the
number of `workers`. Every published rule set judges, language and PII are looked for.
"""

from __future__ import annotations

import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.inside import Stopwatch, contend
from llm_assets.contract.engine import LocalEngine
from llm_assets.contract.link import Link, Work
from llm_assets.stages.clean.link import CleanedLink
from llm_assets.stages.clean.parameters import CleanParameters
from llm_assets.stages.clean.published_rules import C4, FineWeb, GopherRepetition
from llm_assets.stages.read.link import RawLink
from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.store.folder import Folder
from llm_assets.store.layout import Store
from llm_assets.store.manifest import Staged

SOURCE, SNAPSHOT = "corpus", "all"


def peak_memory() -> int:
    """The most bytes that were resident in this process at any moment so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _make(link: Link[Any], store: Store, workers: int, stopwatch: Stopwatch) -> dict[str, int]:
    """Documents that came in, went on as kept, and the peak of memory until then."""
    with stopwatch.phase(link.asset):
        staged: Staged = link.make(Work(store, LocalEngine(workers), SNAPSHOT))
        failed = [outcome for outcome in link.check(staged, store) if not outcome.passed]
        link.describe(staged, store)
        blocking = {check.name for check in link.checks if check.blocking}
        if any(outcome.check in blocking for outcome in failed):
            raise SystemExit(f"{link.asset} failed its checks: {'; '.join(outcome.message for outcome in failed)}")
        staged.commit()
    ledger = staged.manifest.ledger
    return {
        "incoming": ledger.incoming.documents,
        "kept": ledger.kept.documents,
        "text_bytes": ledger.incoming.bytes,
        "peak": peak_memory(),
    }


def _run(job: Mapping[str, Any]) -> dict[str, Any]:
    store = Store(Folder(f"{job['work']}/store"))
    Path(store.landing.path).parent.mkdir(parents=True, exist_ok=True)
    Path(store.landing.path).symlink_to(job["landed"])
    rules = CleanParameters(gopher_repetition=GopherRepetition(), c4=C4(), fineweb=FineWeb())
    raw = RawLink(SOURCE, ReadParameters())
    raw.partitions.register(store)
    stopwatch = Stopwatch()
    links = (raw, CleanedLink(SOURCE, raw, rules))
    made = {link.asset: _make(link, store, job["workers"], stopwatch) for link in links}
    return {**stopwatch.report(), "links": made}


if __name__ == "__main__":
    contend(_run, ["llm-assets", "polars", "pyarrow", "numba", "deltalake"])
