"""Damages to tokenizers, token sets and packed rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer, normalizers

from llm_assets.stages.pack.plan import PackParameters, RowPlan, plan_rows
from llm_assets.stages.tokenize.encode import FrozenTokenizer
from llm_assets.stages.tokenizer.link import TokenizerLink, TokenizerParameters
from llm_assets.store.ledger import Count
from llm_assets_tests.store.shards.examples import sealed_again
from llm_assets_tests.worlds.damage import Made, case, staged
from llm_assets_tests.worlds.tampering import (
    change_ids,
    change_ledger,
    change_provenance,
    flip_byte,
    lose_a_row,
    setting,
)
from llm_assets_tests.worlds.world import World


def with_tokenizer(world: World, **parameters: Any) -> TokenizerLink:
    return TokenizerLink("other", TokenizerParameters(**parameters), ())


def tokenizer_file(world: World, change: Callable[[Any], None]) -> str:
    stored = world.tokenizer.stored(world.store)
    library = Tokenizer.from_str(stored.json_text)
    change(library)
    path = Path(world.store.root.path) / "given.json"
    path.write_text(library.to_str())
    assert json.loads(stored.json_text)["model"]
    return str(path)


@case("tokenizers", "encoder_agrees", "texts have other ids than the reference")
def the_encoder_gives_other_ids(world: World) -> Made:
    link = with_tokenizer(world, path=tokenizer_file(world, lambda library: None))
    made = world.make(link, "")
    right = FrozenTokenizer.encode

    def wrong(self: FrozenTokenizer, texts: pa.Array) -> tuple[Any, Any]:
        offsets, ids = right(self, texts)
        return offsets, np.where(ids == ids.max(), ids - 1, ids)

    world.patches.setattr(FrozenTokenizer, "encode", wrong)
    return link, made


@case("tokenizers", "round_trip", "texts do not come back from their ids")
def the_tokenizer_changes_text(world: World) -> Made:
    def lowercase(library: Any) -> None:
        library.normalizer = normalizers.Lowercase()

    link = with_tokenizer(world, path=tokenizer_file(world, lowercase))
    made = world.make(link, "")
    right = FrozenTokenizer.encode
    reference = FrozenTokenizer(made.json_text, "<|endoftext|>").reference

    def as_the_reference(self: FrozenTokenizer, texts: pa.Array) -> tuple[Any, Any]:
        ids = [reference.encode(text, add_special_tokens=False).ids for text in texts.to_pylist()]
        return np.cumsum([0, *map(len, ids)]), np.concatenate([np.array(each, np.uint32) for each in ids])

    assert right is not as_the_reference
    world.patches.setattr(FrozenTokenizer, "encode", as_the_reference)
    return link, made


@case("tokenized", "ledger_balances", "documents: 5 in the files, 6 in the ledger")
def a_document_is_not_tokenized(world: World) -> Made:
    link, made = staged(world, "tokenized")
    return link, change_ids(made, lambda ids: ids.__delitem__(-1))


@case("tokenized", "ledger_balances", "tokens: ")
def a_token_is_missing(world: World) -> Made:
    link, made = staged(world, "tokenized")
    return link, change_ids(made, lambda ids: ids[2].__delitem__(0))


@case("tokenized", "ids_match_reference", "1 of 6 sampled documents have other ids")
def a_token_is_another(world: World) -> Made:
    def change(ids: list[list[int]]) -> None:
        ids[3][5] += 1

    link, made = staged(world, "tokenized")
    return link, change_ids(made, change)


@case("tokenized", "documents_end", "5 of 6 documents end with it; 0 have it elsewhere")
def a_document_does_not_end(world: World) -> Made:
    def change(ids: list[list[int]]) -> None:
        ids[3][-1] += 1

    link, made = staged(world, "tokenized")
    return link, change_ids(made, change)


@case("tokenized", "documents_end", "6 of 6 documents end with it; 1 have it elsewhere")
def a_document_ends_twice(world: World) -> Made:
    def change(ids: list[list[int]]) -> None:
        ids[3][0] = ids[3][-1]

    link, made = staged(world, "tokenized")
    return link, change_ids(made, change)


@case("packed", "ledger_balances", "came in")
def tokens_are_not_accounted_for(world: World) -> Made:
    link, made = staged(world, "packed")
    return link, change_ledger(made, kept=made.manifest.ledger.kept + Count(0, 0, -1))


@case("packed", "nothing_split_or_lost", "1 differing tokens")
def a_token_in_a_row_is_another(world: World) -> Made:
    """Written so, by a packer that is wrong: the checksums are those of the row as it is."""
    link, made = staged(world, "packed")
    return link, replace(flip_byte(made), shards=sealed_again(made.shards))


@case("packed", "nothing_split_or_lost", "1 unknown pieces")
def a_piece_is_of_no_document(world: World) -> Made:
    def change(table: pa.Table) -> pa.Table:
        return pa.concat_tables([table.slice(1), setting("record", 10_000)(table.slice(0, 1))])

    link, made = staged(world, "packed")
    return link, change_provenance(made, change)


@case("packed", "nothing_split_or_lost", "1 differing rows")
def a_piece_is_not_where_provenance_says(world: World) -> Made:
    link, made = staged(world, "packed")
    return link, change_provenance(made, lose_a_row)


@case("packed", "nothing_split_or_lost", " discarded tokens")
def a_document_is_not_packed(world: World) -> Made:
    link, made = staged(world, "packed")
    return link, change_provenance(made, lambda table: table.filter(pa.compute.greater(table["length"], 127)))


@case("packed", "nothing_split_or_lost", " avoidable splits")
def a_document_is_split_without_need(world: World) -> Made:
    """By a plan for rows half as long as they are."""

    def plan(lengths: Any, sequence_length: int, seed: int) -> RowPlan:
        return replace(plan_rows(lengths, sequence_length // 2, seed), sequence_length=sequence_length)

    world.patches.setattr("llm_assets.stages.pack.link.plan_rows", plan)
    return staged(world, "packed")


@case("packed", "rows_full", "of the rows is tokens")
def rows_are_mostly_padding(world: World) -> Made:
    link = replace(world.docs, parameters=PackParameters(sequence_length=1 << 15))
    return link, world.make(link, "2026-02")
