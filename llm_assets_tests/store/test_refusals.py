from __future__ import annotations

from pathlib import Path

from llm_assets.store.folder import Folder
from llm_assets.store.refusals import Refusal, Refusals


def test_the_last_refusal_counts_until_a_commit_clears_it(tmp_path: Path) -> None:
    refusals = Refusals(Folder(str(tmp_path / "refusals")))
    assert refusals.get("docs/raw", "2026-01") is None
    refusals.record(Refusal("docs/raw", "2026-01", "f1", {"records_read": "0 records"}))
    second = Refusal("docs/raw", "2026-01", "f2", {"quarantine_rate": "10 %"})
    refusals.record(second)
    refusals.record(Refusal("docs/raw", "2026-02", "f3", {}))
    assert refusals.get("docs/raw", "2026-01") == second
    refusals.clear("docs/raw", "2026-01")
    refusals.clear("docs/raw", "2026-01")
    assert refusals.get("docs/raw", "2026-01") is None
    assert refusals.get("docs/raw", "2026-02") is not None


def test_an_asset_without_partitions(tmp_path: Path) -> None:
    refusals = Refusals(Folder(str(tmp_path)))
    refusal = Refusal("tokenizers/bpe", "", "f", {"round_trip": "1 text is lost"})
    refusals.record(refusal)
    assert refusals.get("tokenizers/bpe", "") == refusal
