"""Damages to raw, cleaned and deduplicated documents."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from llm_assets.stages.clean.link import CleanedLink
from llm_assets.stages.clean.parameters import CleanParameters, QualityScore
from llm_assets.stages.clean.stage import CleanStage
from llm_assets.store.ledger import Count
from llm_assets_tests.worlds.damage import Made, case, link_of, staged
from llm_assets_tests.worlds.tampering import (
    change_ledger,
    change_rows,
    lose_a_row,
    repeat_a_row,
    setting,
)
from llm_assets_tests.worlds.world import World, jsonl, paragraphs


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
        CleanStage, "__init__", lambda self, parameters, _, files: right(self, parameters, {"deep": Scorer()}, files)
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
