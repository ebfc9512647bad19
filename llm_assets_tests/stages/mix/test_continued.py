"""Mixtures that continue others: nothing is used twice, nothing is lost, and what cannot be continued is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from llm_assets.contract.link import MissingInputError
from llm_assets.stages.mix.plan import MixtureError
from llm_assets.stages.mix.version.inputs import PlannedMixture
from llm_assets.stages.mix.version.validation_set import open_validation_set
from llm_assets_tests.worlds.mixtures import (
    check_rows,
    grow,
    make,
    mixture,
    origins,
    packed,
    version,
    with_short_code,
)
from llm_assets_tests.worlds.world import World, jsonl, paragraphs


@pytest.mark.parametrize("grown", [False, True])
def test_a_chain_of_continuations_repeats_nothing_and_loses_nothing(world: World, grown: bool) -> None:
    first = mixture(world, "pretrain", shares={"docs": 3, "code": 1}, seed=9, held_out={"rows": 1})
    make(world, first)
    consumed = check_rows(world, version(world, "pretrain", "v1"))[:5]
    second = mixture(world, "anneal", shares={"code": 1}, continues="pretrain@v1", from_row=5)
    make(world, second)
    consumed += check_rows(world, version(world, "anneal", "v1"))[:2]
    if grown:
        grow(world)
    third = mixture(world, "anneal", sources=["docs", "code"], epochs=0.5, continues="anneal@v1", from_row=2)
    assert make(world, third) == "v2"
    rest = check_rows(world, version(world, "anneal", "v2"))
    consumed += rest
    assert len({*consumed}) == len(consumed)
    fourth = mixture(world, "last", shares={"docs": 1, "code": 0}, continues="anneal@v2", from_row=len(rest))
    make(world, fourth)
    consumed += check_rows(world, version(world, "last", "v1"))
    held = open_validation_set(world.store, "last", "v1")
    assert held is not None and len({*consumed}) == len(consumed)
    docs = {row for row in consumed if row[0] == "docs"}
    everything = {row for row in packed(world, "docs") if row[1] != "2026-03" or grown}
    assert everything - docs == {row for row in origins(held) if row[0] == "docs"}
    assert held.digest == held_out_digest(world, "pretrain", "v1")
    manifest = fourth.committed(world.store, "v1")
    assert manifest is not None and manifest.ledger.dropped["used_before:docs"].rows > 0
    assert "anneal/mixed[v2]" in manifest.inputs


def held_out_digest(world: World, name: str, number: str) -> str:
    held_out = open_validation_set(world.store, name, number)
    assert held_out is not None
    return held_out.digest


def test_a_continuation_that_cannot_be(world: World) -> None:
    shares = {"docs": 1, "code": 1}
    with pytest.raises(MissingInputError, match="nowhere@v1 is not made"):
        mixture(world, shares=shares, continues="nowhere@v1", from_row=0).recipe(world.store)
    with pytest.raises(MissingInputError, match=r"from_row: 1000 is beyond the \d+ rows of demo@v1"):
        mixture(world, shares=shares, continues="demo@v1", from_row=1_000).recipe(world.store)
    link = mixture(world, shares=shares, continues="demo@v1", from_row=1, snapshots={"docs": ["2026-02"]})
    with pytest.raises(MissingInputError, match=r"snapshots.docs: 2026-01 is needed, demo@v1 used it"):
        link.recipe(world.store)
    held_out = mixture(world, shares=shares, continues="demo@v1", from_row=1, held_out={"rows": 1})
    with pytest.raises(MixtureError, match="demo@v1 holds out 0 and may have trained on others"):
        make(world, held_out)
    world.land("docs", "2026-02", {"new.jsonl": jsonl(paragraphs(30, 33))})
    for link in world.docs.lineage:
        world.commit(link, "2026-02")
    with pytest.raises(MissingInputError, match=r"docs/packed\[2026-02\] was made again with other rows since demo@v1"):
        mixture(world, shares=shares, continues="demo@v1", from_row=1).recipe(world.store)


def test_a_continuation_of_a_version_that_was_made_anew_is_not_made(world: World) -> None:
    link = mixture(world, "next", shares={"docs": 1}, continues="demo@v1", from_row=2)
    name = link.versions(world.store).register(link.recipe(world.store))
    index = world.store.version("demo", "v1")
    content = version(world, "demo", "v1").index
    index.put("index.json", replace(content, digest="other", manifest=_with_digest(content.manifest)).to_bytes())
    with pytest.raises(RuntimeError, match=r"demo/mixed\[v1\] has other rows than when this version was registered"):
        world.make(link, name)


def _with_digest(manifest: Any) -> dict[str, Any]:
    return {**manifest, "digest": "other"}


def test_rows_of_another_length_do_not_continue_a_version(world: World) -> None:
    """Which documents were used up is not known of such rows: they would come again."""
    make(world, mixture(world, "prose", shares={"docs": 1}))
    link = with_short_code(world, mixture(world, "next", shares={"code": 1}, continues="prose@v1", from_row=2))
    with pytest.raises(
        MixtureError, match=r"continues: prose@v1 has rows of 128 tokens .* rows of 64 tokens"
    ) as caught:
        PlannedMixture.of(world.store, link.recipe(world.store))
    assert "leave continues and from_row out" in str(caught.value)


def test_a_snapshot_that_was_removed_is_missed(world: World) -> None:
    world.store.packed("docs", "2026-02").remove("index.json")
    after = {"continues": "demo@v1", "from_row": 1}
    with pytest.raises(MissingInputError, match=r"continues: docs/packed\[2026-02\] is gone since demo@v1"):
        mixture(world, shares={"docs": 1}, **after).recipe(world.store)
    without = mixture(world, "without", shares={"code": 1}, max_repetitions=2, **after)
    make(world, without)
    manifest = without.committed(world.store, "v1")
    assert manifest is not None and "docs/packed[2026-02]" in {name for name, _ in manifest.details["pins"]["docs"]}


def test_tables_of_a_continuation(world: World) -> None:
    link = mixture(world, "next", shares={"docs": 3, "code": 1}, continues="demo@v1", from_row=6, max_repetitions=3)
    version = link.versions(world.store).register(link.recipe(world.store))
    staged = world.make(link, version)
    described = link.describe(staged, world.store)
    recipe = json.loads(str(described.values["recipe"]))
    assert recipe == {"shares": {"code": 1, "docs": 3}, "continues": "demo@v1", "from_row": 6, "max_repetitions": 3}
    sources = {each["source"]: each for each in described.tables["sources"]}
    assert (sources["docs"]["used_before"], sources["code"]["used_before"]) == (4, 2)
    docs = next(source for source in PlannedMixture.of(world.store, link.recipe(world.store)).plan.sources[1:])
    assert sources["docs"]["used_in_all"] == f"{(4 + docs.taken) / docs.available:.4f}"
    staged.discard()


def test_a_source_that_grew_after_a_lap_is_accounted_for(world: World) -> None:
    """The rows that came in the second lap were not offered in the first."""
    recipe = {"shares": {"docs": 1}, "max_repetitions": 3.0, "held_out": {"rows": 1}}
    make(world, mixture(world, "first", **recipe, total_rows=100))
    assert 50 < len(packed(world, "docs")) < 100
    grow(world)
    recipe.pop("held_out")
    phases = [{"name": "one", "fraction": 0.2}, {"name": "two"}]
    link = mixture(world, "second", **recipe, phases=phases, continues="first@v1", from_row=100)
    name = link.versions(world.store).register(link.recipe(world.store))
    staged = world.make(link, name)
    assert all(outcome.passed for outcome in world.outcomes(link, staged).values())
    offered = staged.manifest.details["offered"]
    assert offered["docs/packed[2026-01]"] == 3 and offered["docs/packed[2026-03]"] == 2
    tables = link.describe(staged, world.store).tables
    (docs,) = tables["sources"]
    in_phases = sum(float(each["repetitions"]) for each in tables["shares"])
    stream = PlannedMixture.of(world.store, link.recipe(world.store)).plan.sources[0].stream
    assert float(docs["used_in_all"]) == 3
    assert in_phases == pytest.approx(3 - float(stream.repetitions(100)), abs=1e-3)
    staged.discard()


def test_rows_of_a_source_that_is_new_can_be_held_out(world: World) -> None:
    make(world, mixture(world, "first", shares={"docs": 1}, held_out={"rows": 1}))
    recipe = {"shares": {"docs": 1, "code": 1}, "continues": "first@v1", "from_row": 3}
    by_source = {"code": {"rows": 2}}
    make(world, mixture(world, "second", **recipe, held_out={"rows": 1, "by_source": by_source}))
    held_out = open_validation_set(world.store, "second", "v1")
    assert held_out is not None and held_out.index.rows_by_source == {"code": 2, "docs": 1}
    with pytest.raises(MixtureError, match="held_out: 0 rows of source 'docs', but first@v1 holds out 1"):
        make(world, mixture(world, "third", **recipe, held_out={"by_source": by_source}))
