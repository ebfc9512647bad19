"""Every check of every link is seen to fail, and for the reason it is there for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, normalizers

from llm_assets.chain.arrivals import source_links
from llm_assets.chain.cleaned import CleanedLink
from llm_assets.chain.held_out import held_out_of
from llm_assets.chain.link import Link
from llm_assets.chain.mixed import MixedLink
from llm_assets.chain.shard_partition import PROVENANCE, StagedShards
from llm_assets.chain.tokenizer import TokenizerLink, TokenizerParameters
from llm_assets.stages.clean.parameters import CleanParameters, QualityScore
from llm_assets.stages.clean.stage import CleanStage
from llm_assets.stages.mix.recipe import HeldOut, MixParameters
from llm_assets.stages.pack.plan import PackParameters, RowPlan, plan_rows
from llm_assets.stages.tokenize import FrozenTokenizer
from llm_assets.store.ledger import Count
from llm_assets.store.shard_writer import StagedShardSet
from llm_assets.store.shards import ShardSet
from llm_assets_tests.chain.tampering import (
    change_ids,
    change_ledger,
    change_provenance,
    change_rows,
    flip_byte,
    lose_a_row,
    repeat_a_row,
    setting,
)
from llm_assets_tests.chain.world import World, jsonl, paragraphs
from llm_assets_tests.store.shard_examples import sealed_again

Made = tuple[Link[Any], Any]


@dataclass(frozen=True)
class Case:
    """A damage, the check that has to find it, and a word of its message."""

    asset: str
    check: str
    message: str
    damage: Callable[[World], Made]

    def __str__(self) -> str:
        return f"{self.asset}-{self.check}-{self.damage.__name__.strip('_')}"


CASES: list[Case] = []


def case(asset: str, check: str, message: str) -> Callable[[Callable[[World], Made]], Callable[[World], Made]]:
    def register(damage: Callable[[World], Made]) -> Callable[[World], Made]:
        CASES.append(Case(asset, check, message, damage))
        return damage

    return register


def link_of(world: World, stage: str) -> Link[Any]:
    return next(link for link in source_links(world.docs) if link.asset == f"docs/{stage}")


def staged(world: World, stage: str, partition: str = "2026-02") -> Made:
    link = link_of(world, stage)
    return link, world.make(link, partition)


@case("raw", "ledger_balances", "documents: 11 in the files, 12 in the ledger")
def a_row_is_not_written(world: World) -> Made:
    world.land("docs", "2026-03", {"a.jsonl": jsonl(paragraphs(0, 12))})
    link, made = staged(world, "raw", "2026-03")
    return link, change_rows(made, "kept", lose_a_row)


@case("raw", "ledger_balances", "quarantined records: 0 in the files, 1 in the ledger")
def a_quarantined_record_is_not_written(world: World) -> Made:
    world.land("docs", "2026-03", {"a.jsonl": jsonl(paragraphs(0, 30)) + b"{\n"})
    link, made = staged(world, "raw", "2026-03")
    return link, change_rows(made, "quarantined", lose_a_row)


@case("raw", "ledger_balances", "came in")
def a_record_is_not_accounted_for(world: World) -> Made:
    link, made = staged(world, "raw")
    return link, change_ledger(made, incoming=made.manifest.ledger.incoming + Count(1, 10))


@case("raw", "records_read", "0 records were read")
def nothing_is_readable(world: World) -> Made:
    world.land("docs", "2026-03", {"a.jsonl": b"{\nnull\n"})
    return staged(world, "raw", "2026-03")


@case("raw", "records_read", "0 records were read")
def nothing_has_landed(world: World) -> Made:
    world.land("docs", "2026-03", {})
    return staged(world, "raw", "2026-03")


@case("raw", "quarantine_rate", "6.25% of the records could not be read (1 of 16)")
def too_much_is_unreadable(world: World) -> Made:
    world.land("docs", "2026-03", {"a.jsonl": jsonl(paragraphs(0, 15)) + b"{\n"})
    return staged(world, "raw", "2026-03")


@case("cleaned", "ledger_balances", "rejected documents: 0 in the files, 1 in the ledger")
def a_rejected_document_is_not_written(world: World) -> Made:
    link, made = staged(world, "cleaned", "2026-01")
    return link, change_rows(made, "rejected", lose_a_row)


@case("cleaned", "ledger_balances", "kept documents: 22 in the files, 21 in the ledger")
def a_document_is_written_twice(world: World) -> Made:
    link, made = staged(world, "cleaned")
    return link, change_rows(made, "kept", repeat_a_row)


@case("cleaned", "ledger_balances", "the stage before put out")
def a_part_of_raw_is_not_read(world: World) -> Made:
    from llm_assets.store.documents import SnapshotFiles

    with pytest.MonkeyPatch.context() as patch:
        numbers = SnapshotFiles.parts.fget
        assert numbers is not None
        patch.setattr(SnapshotFiles, "parts", property(lambda self: numbers(self)[:-1]))
        return staged(world, "cleaned", "2026-01")


@case("cleaned", "documents_kept", "0 documents passed")
def no_document_is_good(world: World) -> Made:
    world.land("docs", "2026-03", {"a.jsonl": jsonl(["short"] * 3)})
    world.commit(link_of(world, "raw"), "2026-03")
    return staged(world, "cleaned", "2026-03")


@case("cleaned", "drop_rate", "66.67% of the documents were dropped (4 of 6)")
def most_documents_are_bad(world: World) -> Made:
    world.land("docs", "2026-03", {"a.jsonl": jsonl(["short"] * 4 + paragraphs(0, 2))})
    world.commit(link_of(world, "raw"), "2026-03")
    return staged(world, "cleaned", "2026-03")


def after(world: World, before: list[str], then: list[str]) -> Made:
    """A snapshot cleaned after another of that text."""
    for name, texts in {"2026-03": before, "2026-04": then}.items():
        world.land("docs", name, {"a.jsonl": jsonl(texts)})
        world.commit(link_of(world, "raw"), name)
    world.commit(link_of(world, "cleaned"), "2026-03")
    return staged(world, "cleaned", "2026-04")


@case("cleaned", "processing_errors", "a.jsonl, record 4: RuntimeError: too deep for words")
def a_document_cannot_be_processed(world: World) -> Made:
    class Scorer:
        digest = "1"

        def score(self, texts: pa.LargeStringArray) -> np.ndarray:
            if any("unfathomable" in text for text in texts.to_pylist()):
                raise RuntimeError("too deep for words")
            return np.ones(len(texts))

    texts = paragraphs(0, 6)
    texts[3] += " unfathomable"
    world.land("docs", "2026-03", {"a.jsonl": jsonl(texts)})
    world.commit(link_of(world, "raw"), "2026-03")
    link = link_of(world, "cleaned")
    assert isinstance(link, CleanedLink)
    right = CleanStage.__init__
    world.patches.setattr(
        CleanStage, "__init__", lambda self, parameters, _: right(self, parameters, {"deep": Scorer()})
    )
    link = replace(link, parameters=CleanParameters(quality=(QualityScore(model="deep"),)))
    return link, world.make(link, "2026-03")


@case("cleaned", "pii_rate", "16.67% of the documents came with PII (1 of 6)")
def a_document_has_pii(world: World) -> Made:
    texts = paragraphs(0, 6)
    texts[2] += " Write to someone@example.com for more."
    world.land("docs", "2026-03", {"a.jsonl": jsonl(texts)})
    world.commit(link_of(world, "raw"), "2026-03")
    return staged(world, "cleaned", "2026-03")


@case("cleaned", "language_shift", "against 2026-03")
def another_language_arrives(world: World) -> Made:
    french = [f"{number}. Le chat est sur la table, et il regarde la pluie par la fenêtre." for number in range(60)]
    return after(world, paragraphs(0, 60), french)


@case("cleaned", "statistics_shift", "shifted by more than 0.250 against 2026-03")
def longer_documents_arrive(world: World) -> Made:
    return after(world, paragraphs(0, 60), [" ".join(paragraphs(n, n + 4)) for n in range(60)])


@case("cleaned", "outliers", "beyond 99.8 % of 2026-03")
def some_documents_are_much_longer(world: World) -> Made:
    return after(world, paragraphs(0, 200), [" ".join(paragraphs(n, n + 9)) for n in range(40)] + paragraphs(0, 60))


@case("deduped", "ledger_balances", "verdicts: 20 in the files, 21 in the ledger")
def a_verdict_is_not_written(world: World) -> Made:
    link, made = staged(world, "deduped")
    return link, change_rows(made, "verdict", lose_a_row)


@case("deduped", "ledger_balances", "the stage before put out")
def the_ledger_is_of_other_documents(world: World) -> Made:
    link, made = staged(world, "deduped")
    ledger = made.manifest.ledger
    more = Count(0, 5)
    return link, change_ledger(made, incoming=ledger.incoming + more, kept=ledger.kept + more)


@case("deduped", "no_copies_kept", "15 of 21 kept documents equal another one")
def copies_are_kept(world: World) -> Made:
    link, made = staged(world, "deduped")
    return link, change_rows(made, "verdict", setting("kept", True))


@case("deduped", "earlier_snapshots_complete", "not compared with 2026-03")
def an_earlier_snapshot_is_not_cleaned(world: World) -> Made:
    for name in ("2026-03", "2026-04"):
        world.land("docs", name, {"a.jsonl": jsonl(paragraphs(70, 75))})
        world.store.order("docs").register(name)
    for stage in ("raw", "cleaned"):
        world.commit(link_of(world, stage), "2026-04")
    return staged(world, "deduped", "2026-04")


@case("deduped", "duplicate_rate", "71.43% are copies (15 of 21)")
def most_documents_are_copies(world: World) -> Made:
    return staged(world, "deduped")


def with_tokenizer(world: World, **parameters: Any) -> TokenizerLink:
    return TokenizerLink("other", TokenizerParameters(**parameters), ())


def tokenizer_file(world: World, change: Callable[[Any], None]) -> str:
    stored, _ = world.tokenizer.open(world.store)
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

    world.patches.setattr("llm_assets.chain.packed.plan_rows", plan)
    return staged(world, "packed")


@case("packed", "rows_full", "of the rows is tokens")
def rows_are_mostly_padding(world: World) -> Made:
    link = replace(world.docs, parameters=PackParameters(sequence_length=1 << 15))
    return link, world.make(link, "2026-02")


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
    link = replace(world.mixed, parameters=MixParameters(shares={"docs": 1, "code": 1}, held_out=HeldOut(rows=2)))
    made = world.make(link, link.versions(world.store).register(link.recipe(world.store)))
    held_out = held_out_of(made.shards)
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


@case("mixed", "checksums", "not there")
def a_shard_is_gone(world: World) -> Made:
    made = world.make(world.mixed, "v1")
    index = made.shards.index
    lengths = made.shards.document_lengths(0, made.shards.rows)
    made.shards.folder.local_path(index.shard_file(0)).unlink()
    assert lengths.lengths.size
    return world.mixed, made


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_check_fails(case: Case, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.patches = monkeypatch
    link, made = case.damage(world)
    outcome = world.outcomes(link, made)[case.check]
    assert not outcome.passed
    assert case.message in outcome.message


def test_no_check_is_left_out(world: World) -> None:
    stages = {link.asset.split("/")[1]: link for link in source_links(world.docs)}
    links: dict[str, Link[Any]] = {**stages, "tokenizers": world.tokenizer, "mixed": world.mixed}
    assert {(case.asset, case.check) for case in CASES} == {
        (stage, check.name) for stage, link in links.items() for check in link.checks
    }


def test_every_check_passes_where_nothing_is_wrong(world: World) -> None:
    made = [*((link, "2026-01") for link in source_links(world.code)), (world.tokenizer, ""), (world.mixed, "v1")]
    for link, partition in made:
        outcomes = world.outcomes(link, world.make(link, partition)).values()
        assert [outcome.message for outcome in outcomes if not outcome.passed] == []
