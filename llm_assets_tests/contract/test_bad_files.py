"""Planted files of every bad kind: each record is read or in quarantine; too many of the latter stop a snapshot."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from llm_assets.contract.link import State
from llm_assets.project import is_settled
from llm_assets.stages.read.records import RAW_LIMIT
from llm_assets.store.layout import SUCCESS
from llm_assets.store.ledger import Count
from llm_assets_tests.cli.bad_files import plant_bad_files
from llm_assets_tests.worlds.accounts import check_ledgers
from llm_assets_tests.worlds.world import RefusedError, World, jsonl, paragraphs


@pytest.fixture
def lenient(tmp_path: Path) -> World:
    """A source that takes anything."""
    return World.below(tmp_path, max_quarantine_rate=1.0)


def plant(world: World) -> dict[str, int]:
    folder = world.store.landing / "docs/bad"
    expected = plant_bad_files(folder)
    folder.put(SUCCESS, b"")
    return expected


def test_every_bad_record_is_counted_and_kept(lenient: World) -> None:
    expected = plant(lenient)
    good = expected.pop("good")
    raw = lenient.docs.lineage[0]
    manifest = lenient.commit(raw, "bad")
    ledger = manifest.ledger
    assert {error: count.documents for error, count in ledger.quarantined.items()} == expected
    assert ledger.kept.documents == good
    assert ledger.incoming == ledger.kept + ledger.quarantined_total
    assert ledger.incoming.documents == good + sum(expected.values())

    table = pl.read_delta((lenient.store.source("docs") / "raw").uri)
    kept, lost = table.filter(disposition="kept"), table.filter(disposition="quarantined")
    assert kept.height == good and kept["id"].n_unique() == good
    assert Count(kept.height, int(kept["text"].str.len_bytes().sum())) == ledger.kept
    assert dict(lost.group_by("error").agg(pl.col("records").sum()).iter_rows()) == expected
    assert lost["error_detail"].null_count() == 0 and lost["file"].null_count() == 0
    assert lost["raw"].bin.size().max() <= RAW_LIMIT  # pyright: ignore


def test_what_is_quarantined_lies_where_it_says(lenient: World) -> None:
    plant(lenient)
    lenient.commit(lenient.docs.lineage[0], "bad")
    lost = pl.read_delta((lenient.store.source("docs") / "raw").uri).filter(disposition="quarantined")
    plain = lost.filter(pl.col("file").str.ends_with(".jsonl") & (pl.col("error") != "empty_file"))
    assert plain.height > 10
    for file, record, offset, raw in plain.select("file", "record", "byte_offset", "raw").iter_rows():
        content = (lenient.store.landing / "docs/bad").read(file)
        assert content[offset : offset + len(raw)] == raw == content.split(b"\n")[record - 1]


def test_the_same_bad_files_elsewhere_have_the_same_digest(lenient: World, tmp_path: Path) -> None:
    """Nothing of where they lie is in what is said about them."""
    elsewhere = World.below(tmp_path / "else/where", workers=1, max_quarantine_rate=1.0)
    digests = []
    for world in (lenient, elsewhere):
        plant(world)
        digests.append(world.commit(world.docs.lineage[0], "bad").digest)
    assert digests[0] == digests[1]


def test_the_chain_goes_on_with_what_is_good(lenient: World) -> None:
    good = plant(lenient)["good"]
    lenient.land("code", "2026-01", {"c.jsonl": jsonl(paragraphs(40, 60))})
    lenient.run_all()
    for packed, snapshot in lenient.snapshots():
        check_ledgers(lenient, packed, snapshot)
    cleaned = lenient.docs.lineage[1].committed(lenient.store, "bad")
    assert cleaned is not None and cleaned.ledger.incoming.documents == good


def test_with_the_usual_limit_nothing_is_committed(tmp_path: Path) -> None:
    world = World.below(tmp_path)
    plant(world)
    raw, cleaned = world.docs.lineage[:2]
    with pytest.raises(RefusedError) as refused:
        world.commit(raw, "bad")
    assert refused.value.checks == {"quarantine_rate"}
    assert raw.committed(world.store, "bad") is None
    assert raw.state(world.store, "bad") is State.MISSING and cleaned.state(world.store, "bad") is State.MISSING
    assert not list((tmp_path / "sources").rglob("*.parquet"))
    assert not is_settled(world.docs, world.store, "bad")
