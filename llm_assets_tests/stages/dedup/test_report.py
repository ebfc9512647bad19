"""What a person sees of copies: each beside the document that it is a copy of, wherever that lies."""

from __future__ import annotations

from pathlib import Path

from llm_assets.contract.samples import PREVIEW_CHARACTERS, SAMPLE_ROWS
from llm_assets_tests.worlds.world import World, jsonl, paragraphs


def test_a_copy_is_shown_beside_its_partner(tmp_path: Path) -> None:
    world = World.below(tmp_path)
    raw, cleaned, deduped = world.docs.lineage[:3]
    german = f"Über Straßen, Öl und 文字: {paragraphs(7, 8)[0]}"
    first, second = [*paragraphs(0, 3), german], [*paragraphs(3, 5), german, paragraphs(1, 2)[0], paragraphs(3, 4)[0]]
    world.land("docs", "2026-01", {"a.jsonl": jsonl(first)})
    world.land("docs", "2026-02", {"b.jsonl": jsonl(second[:3]), "c.jsonl": jsonl(second[3:])})
    for snapshot in ("2026-01", "2026-02"):
        world.commit(raw, snapshot)
        world.commit(cleaned, snapshot)
    staged = world.make(deduped, "2026-02")
    described = deduped.describe(staged, world.store)
    samples = described.samples["duplicates"]
    found = {sample["document"]: (sample["partner"], sample["text"], sample["partner_text"]) for sample in samples}
    assert {name: partner for name, (partner, *_) in found.items()} == {
        "b.jsonl:3": "2026-01/a.jsonl:4",
        "c.jsonl:1": "2026-01/a.jsonl:2",
        "c.jsonl:2": "2026-02/b.jsonl:1",
    }
    assert all(text == partner_text for _, text, partner_text in found.values())
    assert (
        found["b.jsonl:3"][1].startswith("Über Straßen, Öl und 文字: ")
        and len(found["b.jsonl:3"][1]) <= PREVIEW_CHARACTERS
    )
    assert described.values["duplicate_rate"] == 3 / 5 and described.values["kept_fraction"] == 2 / 5


def test_of_many_copies_some_are_shown(tmp_path: Path) -> None:
    world = World.below(tmp_path)
    raw, cleaned, deduped = world.docs.lineage[:3]
    world.land("docs", "2026-01", {"a.jsonl": jsonl([paragraphs(place % 4, place % 4 + 1)[0] for place in range(60)])})
    world.commit(raw, "2026-01")
    world.commit(cleaned, "2026-01")
    samples = deduped.describe(world.make(deduped, "2026-01"), world.store).samples["duplicates"]
    records = [int(sample["document"].split(":")[1]) for sample in samples]
    assert len(samples) == SAMPLE_ROWS and records[0] == 5 and records[-1] == 60
    for sample, record in zip(samples, records, strict=True):
        assert sample["partner"] == f"2026-01/a.jsonl:{(record - 1) % 4 + 1}" and sample["similarity"] == "1"


def test_where_nothing_was_dropped_there_are_no_samples(world: World) -> None:
    deduped = world.docs.lineage[2]
    staged = world.make(deduped, "2026-01")
    kept_all = staged.manifest.ledger.dropped == {}
    assert bool(deduped.describe(staged, world.store).samples["duplicates"]) is not kept_all
