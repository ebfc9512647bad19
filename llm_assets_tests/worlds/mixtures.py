"""Versions of mixtures made in a test, and what plain pyarrow says of their rows."""

from __future__ import annotations

from dataclasses import replace

import pyarrow.parquet as pq

from llm_assets.stages.mix.link import MixedLink
from llm_assets.stages.mix.recipe import MixParameters
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets_tests.worlds.world import World, jsonl, paragraphs

Origin = tuple[str, str, int]


def mixture(world: World, name: str = "demo", **recipe: object) -> MixedLink:
    return replace(world.mixed, name=name, parameters=MixParameters.model_validate(recipe))


def make(world: World, link: MixedLink) -> str:
    """A version of what there is, checked and committed."""
    version = link.versions(world.store).register(link.recipe(world.store))
    world.commit(link, version)
    return version


def origins(shards: ShardSet) -> list[Origin]:
    """By pyarrow alone."""
    path = shards.folder.local_path(f"{shards.index.generation}/provenance.parquet")
    table = pq.read_table(path).to_pylist()
    assert [origin["row"] for origin in table] == list(range(shards.rows))
    return [(origin["source"], origin["snapshot"], origin["packed_row"]) for origin in table]


def check_rows(world: World, shards: ShardSet) -> list[Origin]:
    """Every row is the packed row that it is said to be."""
    found = origins(shards)
    for row, (source, snapshot, packed_row) in enumerate(found):
        packed = ShardSet.open(world.store.packed(source, snapshot))
        for one, other in (
            (shards.input_ids(row, row + 1), packed.input_ids(packed_row, packed_row + 1)),
            (shards.document_lengths(row, row + 1)[1], packed.document_lengths(packed_row, packed_row + 1)[1]),
        ):
            assert one.tolist() == other.tolist()
    return found


def version(world: World, name: str, version: str) -> ShardSet:
    return ShardSet.open(world.store.version(name, version))


def packed(world: World, source: str) -> list[Origin]:
    """All packed rows of a source."""
    order = world.store.order(source).names()
    return [
        (source, name, row) for name in order for row in range(ShardSet.open(world.store.packed(source, name)).rows)
    ]


def grow(world: World) -> None:
    """A new snapshot of docs, packed."""
    world.land("docs", "2026-03", {"a.jsonl": jsonl(paragraphs(300, 330))})
    list(world.snapshots())
    for link in world.docs.lineage:
        world.commit(link, "2026-03")


def with_short_code(world: World, link: MixedLink) -> MixedLink:
    """The mixture, once `code` is packed in rows of half the length."""
    length = world.code.parameters.sequence_length // 2
    code = replace(world.code, parameters=world.code.parameters.model_copy(update={"sequence_length": length}))
    world.commit(code, "2026-01")
    return replace(link, sources=(world.docs, code))
