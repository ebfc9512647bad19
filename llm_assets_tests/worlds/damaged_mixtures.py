"""Damages to mixtures and their validation sets."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from llm_assets.contract.shard_partition import PROVENANCE, StagedShards
from llm_assets.stages.mix.link import MixedLink
from llm_assets.stages.mix.recipe import HeldOutParameters, MixParameters
from llm_assets.stages.mix.version.validation_set import validation_set_of
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets.store.shards.writer import StagedShardSet
from llm_assets_tests.worlds.damage import Made, case
from llm_assets_tests.worlds.tampering import (
    change_ledger,
    change_provenance,
    flip_byte,
    lose_a_row,
    repeat_a_row,
)
from llm_assets_tests.worlds.world import World


@case("mixed", "ledger_balances", "the stage before put out")
def packed_rows_are_not_those_of_their_ledger(world: World) -> Made:
    shards = ShardSet.open(world.store.packed("code", "2026-01"))
    manifest = json.loads(json.dumps(shards.index.manifest))
    manifest["ledger"]["output"]["tokens"] += 1
    StagedShardSet(shards.folder, shards.index).commit(manifest)
    return world.mixed, world.make(world.mixed, "v1")


@case("mixed", "ledger_balances", "came in")
def rows_are_not_accounted_for(world: World) -> Made:
    made = world.make(world.mixed, "v1")
    return world.mixed, change_ledger(made, dropped={})


@case("mixed", "shares_exact", "no source is ever further than")
def sources_come_one_after_the_other(world: World) -> Made:
    made = world.make(world.mixed, "v1")
    return world.mixed, change_provenance(made, lambda table: table.sort_by("source"))


@case("mixed", "rows_as_packed", "sampled rows are not the packed rows they are said to be")
def rows_come_from_elsewhere(world: World) -> Made:
    def change(table: pa.Table) -> pa.Table:
        column = table.schema.get_field_index("packed_row")
        return table.set_column(column, "packed_row", pa.array(table["packed_row"].to_numpy()[::-1]))

    return world.mixed, change_provenance(world.make(world.mixed, "v1"), change)


@case("mixed", "rows_as_packed", " of them of another row")
def a_row_has_no_record(world: World) -> Made:
    return world.mixed, change_provenance(world.make(world.mixed, "v1"), lose_a_row)


def with_held_out(world: World) -> tuple[MixedLink, StagedShards, StagedShards]:
    """A version with a validation set; the set as it would be if it were staged by itself."""
    link = replace(
        world.mixed, parameters=MixParameters(shares={"docs": 1, "code": 1}, held_out=HeldOutParameters(rows=2))
    )
    made = world.make(link, link.versions(world.store).register(link.recipe(world.store)))
    held_out = validation_set_of(made.shards)
    assert held_out is not None and held_out.rows == 4
    return link, made, replace(made, shards=StagedShardSet(held_out.folder, held_out.index))


@case("mixed", "held_out_apart", "1 rows to train on are held out")
def a_held_out_row_is_trained_on(world: World) -> Made:
    link, made, held_out = with_held_out(world)
    trained = pq.read_table(
        world.store.root.local_path(f"mixtures/demo/v2/{made.shards.index.generation}/{PROVENANCE}")
    )
    row = trained.filter(pa.compute.equal(trained["source"], "docs")).slice(0, 1)
    change_provenance(held_out, lambda table: pa.concat_tables([row.cast(table.schema), table.slice(1)]))
    return link, made


@case("mixed", "held_out_apart", "1 of 5 are held out twice")
def a_row_is_held_out_twice(world: World) -> Made:
    link, made, held_out = with_held_out(world)
    change_provenance(held_out, repeat_a_row)
    return link, made


@case("mixed", "ledger_balances", "180 are accounted for")
def held_out_rows_are_not_accounted_for(world: World) -> Made:
    link, made, _ = with_held_out(world)
    ledger = made.manifest.ledger
    dropped = {name: count for name, count in ledger.dropped.items() if name != "held_out:code"}
    assert len(dropped) < len(ledger.dropped)
    return link, change_ledger(made, dropped=dropped)


@case("mixed", "ledger_balances", "held-out sets: 0 in the files, 1 in the ledger")
def the_validation_set_is_gone(world: World) -> Made:
    link, made, held_out = with_held_out(world)
    held_out.shards.folder.remove("index.json")
    return link, made


@case("mixed", "checksums", "held_out/rows/shard-00000.arrow: block 0")
def a_byte_of_the_validation_set_is_another(world: World) -> Made:
    link, made, held_out = with_held_out(world)
    flip_byte(held_out)
    return link, made


@case("mixed", "checksums", "block 0")
def a_byte_of_a_shard_is_another(world: World) -> Made:
    """After it was read, as it should be, by whoever makes the other checks."""
    made = world.make(world.mixed, "v1")
    made.shards.take(np.arange(made.shards.rows))
    return world.mixed, flip_byte(made, 777)


@case("mixed", "checksums", "does not exist")
def a_shard_is_gone(world: World) -> Made:
    made = world.make(world.mixed, "v1")
    index = made.shards.index
    lengths = made.shards.document_lengths(0, made.shards.rows)
    made.shards.folder.local_path(index.shard_file(0)).unlink()
    assert lengths.lengths.size
    return world.mixed, made
