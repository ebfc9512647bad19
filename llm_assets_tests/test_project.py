from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from llm_assets.project import is_settled, unsettled
from llm_assets.stages.mix.recipe import MixParameters
from llm_assets.store.refusals import Refusal
from llm_assets_tests.worlds.world import World, jsonl, paragraphs


def test_snapshots_arrive_in_turn(tmp_path: Path) -> None:
    world = World.below(tmp_path)
    raw = world.docs.lineage[0]
    assert raw.partitions.register(world.store).keys == ()
    world.land("docs", "2026-02", {})
    world.store.landing.put("docs/2026-01/a.jsonl", b"")
    assert raw.partitions.register(world.store).keys == ("2026-02",)
    world.land("docs", "2026-01", {})
    world.land("docs", "not a name", {})
    arrivals = raw.partitions.register(world.store)
    assert arrivals.keys == ("2026-02", "2026-01")
    assert "'not a name'" in arrivals.message
    code = world.code.lineage[0].partitions
    assert code.register(world.store).message == ""
    assert code.where(world.store) == f"nothing has landed in {tmp_path}/landing/code"


def test_links_of_a_source_in_order(made_world: World) -> None:
    stages = [link.asset for link in made_world.code.lineage]
    assert stages == [f"code/{stage}" for stage in ("raw", "cleaned", "deduped", "tokenized", "packed")]


def test_what_is_left_to_do(world: World) -> None:
    assert list(unsettled(world.mixed, world.store)) == []
    world.land("docs", "2026-02", {"new.jsonl": jsonl(paragraphs(30, 33))})
    world.land("docs", "2026-03", {"a.jsonl": jsonl(paragraphs(33, 36))})
    world.docs.lineage[0].partitions.register(world.store)
    assert list(unsettled(world.mixed, world.store)) == ["docs[2026-02]", "docs[2026-03]"]
    for link in world.docs.lineage:
        assert not is_settled(world.docs, world.store, "2026-02")
        world.commit(link, "2026-02")
    assert is_settled(world.docs, world.store, "2026-02")
    raw = world.docs.lineage[0]
    refused = raw.fingerprint(world.store, "2026-03")
    assert refused is not None
    world.store.refusals.record(Refusal("docs/raw", "2026-03", refused, {"records_read": "none"}))
    assert list(unsettled(world.mixed, world.store)) == []


def test_a_source_without_any_snapshot_is_waited_for(tmp_path: Path) -> None:
    world = World.below(tmp_path)
    assert list(unsettled(world.mixed, world.store)) == ["docs[none]", "code[none]"]
    without_code = replace(world.mixed, parameters=MixParameters(shares={"docs": 1, "code": 0}))
    assert list(unsettled(without_code, world.store)) == ["docs[none]"]


def test_other_snapshots_than_the_pinned_ones_are_not_waited_for(world: World) -> None:
    pinned = MixParameters(shares={"docs": 1, "code": 1}, snapshots={"docs": ("2026-01",)})
    mixed = replace(world.mixed, parameters=pinned)
    world.land("docs", "2026-02", {"new.jsonl": jsonl(paragraphs(30, 33))})
    world.land("code", "2026-02", {"new.jsonl": jsonl(paragraphs(33, 36))})
    for packed in world.mixed.sources:
        packed.lineage[0].partitions.register(world.store)
    assert list(unsettled(mixed, world.store)) == ["code[2026-02]"]
    pinned_later = pinned.model_copy(update={"snapshots": {"docs": ("2026-02",)}})
    assert list(unsettled(replace(mixed, parameters=pinned_later), world.store)) == ["docs[2026-02]", "code[2026-02]"]
