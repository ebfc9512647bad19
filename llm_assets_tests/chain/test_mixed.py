"""Versions of mixtures: phases, held-out rows, pins and continuations, from packed rows to rows in training order."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm_assets.chain import mixed, shuffle
from llm_assets.chain.arrivals import source_links
from llm_assets.chain.held_out import open_held_out
from llm_assets.chain.link import MissingInputError
from llm_assets.chain.mixed import MixedLink
from llm_assets.chain.mixed_checks import _Shares
from llm_assets.chain.mixed_counts import Seen, seen_before
from llm_assets.chain.mixed_inputs import PlannedMixture
from llm_assets.chain.pool import Pool
from llm_assets.stages.mix.plan import MixtureError
from llm_assets.stages.mix.recipe import MixParameters
from llm_assets.store.shard_writer import ShardSetWriter
from llm_assets.store.shards import ShardSet
from llm_assets_tests.chain.world import RefusedError, World, jsonl, paragraphs

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


PHASES = [{"name": "main"}, {"name": "end", "fraction": 0.3, "shares": {"code": 3, "docs": 1}}]


def test_phases_and_held_out_rows(world: World) -> None:
    link = mixture(world, shares={"docs": 3, "code": 1}, phases=PHASES, held_out={"rows": 2}, max_repetitions=2)
    name = make(world, link)
    shards = version(world, "demo", name)
    rows = check_rows(world, shards)
    held_out = open_held_out(world.store, "demo", name)
    assert held_out is not None
    held = check_rows(world, held_out)
    assert Counter(source for source, _, _ in held) == {"docs": 2, "code": 2} and not {*held} & {*rows}
    manifest = link.committed(world.store, name)
    assert manifest is not None and manifest.details["held_out"]["digest"] == held_out.digest
    assert manifest.ledger.dropped["held_out:docs"].documents == 2
    main, end = (phase["rows"] for phase in manifest.details["plan"]["phases"])
    assert main + end == shards.rows and end == shards.rows * 3 // 10
    for part, share in ((rows[:main], Fraction(3, 4)), (rows[main:], Fraction(1, 4))):
        for position in range(1, len(part) + 1):
            given = sum(source == "docs" for source, _, _ in part[:position])
            assert abs(given - share * position) < 1
    used = Counter(rows)
    for source in ("docs", "code"):
        times = [used[row] for row in packed(world, source) if row not in held]
        assert max(times) - min(times) <= 1 and max(times) <= 2


def test_without_held_out_rows_there_is_no_validation_set(made_world: World) -> None:
    assert open_held_out(made_world.store, "demo", "v1") is None
    assert open_held_out(made_world.store, "demo", "v7") is None


def test_other_seeds_and_shares_hold_out_the_same(world: World) -> None:
    found = []
    for recipe in ({"shares": {"docs": 1, "code": 1}, "seed": 1}, {"sources": ["docs", "code"], "seed": 2}):
        name = make(world, mixture(world, **recipe, held_out={"by_source": {"docs": {"tokens": 300}}}))
        held_out = open_held_out(world.store, "demo", name)
        assert held_out is not None and held_out.index.tokens >= 300
        found.append(held_out.digest)
    assert found[0] == found[1]


def test_made_again_it_is_the_same(world: World) -> None:
    link = mixture(world, shares={"docs": 3, "code": 1}, phases=PHASES, held_out={"rows": 2}, max_repetitions=2)
    name = make(world, link)
    before = link.committed(world.store, name)
    again = world.make(link, name)
    assert before is not None and again.manifest.digest == before.digest
    assert {**again.manifest.details} == {**before.details} and again.manifest.ledger == before.ledger
    again.discard()


@pytest.mark.parametrize("rows", [1, 2, 7, 1_000])
@pytest.mark.parametrize("block", [1, 5])
def test_the_shuffle_gives_the_same_in_any_number_of_buckets(
    world: World, tmp_path: Path, rows: int, block: int
) -> None:
    link = mixture(world, shares={"docs": 3, "code": 1}, phases=PHASES, held_out={"rows": 2}, max_repetitions=3)
    planned = PlannedMixture.of(world.store, link.recipe(world.store))
    direct = [
        (planned.plan.names[source], row)
        for source, row in zip(*map(list, planned.plan.order(0, planned.plan.total_rows)), strict=True)
    ]
    work = shuffle.Shuffle(planned.plan, planned.pool, tmp_path / "spill", block_bytes=block * planned.pool.row_bytes)
    work = replace(work, bucket_bytes=-(-work.bucket_bytes // work.rows_per_bucket) * rows)
    at = 0
    for ordered in work.rows():
        assert len(ordered.sources) <= rows
        for place in range(len(ordered.sources)):
            source, row = direct[at]
            ids, lengths = planned.pool.take(source, np.array([row]))
            assert planned.plan.names[ordered.sources[place]] == source
            assert ordered.input_ids[place].tolist() == ids[0].tolist()
            bounds = ordered.lengths.offsets
            assert ordered.lengths.lengths[bounds[place] : bounds[place + 1]].tolist() == lengths.lengths.tolist()
            at += 1
    assert at == len(direct) and not (tmp_path / "spill").exists()
    assert work.buckets == -(-at // rows)


def test_a_version_that_spills_is_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = world.make(world.mixed, "v1")
    monkeypatch.setattr(shuffle.Shuffle, "rows_per_bucket", 3)
    after = world.make(world.mixed, "v1")
    assert after.manifest.digest == before.manifest.digest
    assert not (after.shards.folder / f"{after.shards.index.generation}/spill").names()
    assert [shard.checksum for shard in after.shards.shards()] == [shard.checksum for shard in before.shards.shards()]
    after.discard()
    before.discard()


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "empty"])
def test_what_is_spilled_and_damaged_is_not_used(world: World, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    right = shuffle._read

    def damaged(file: Path, pool: Any) -> Any:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        if damage == "remove":
            file.unlink()
        else:
            file.write_bytes({"flip": content, "truncate": content[:-3], "empty": b""}[damage])
        return right(file, pool)

    monkeypatch.setattr(shuffle.Shuffle, "rows_per_bucket", 3)
    monkeypatch.setattr(shuffle, "_read", damaged)
    with pytest.raises(shuffle.SpillError):
        world.make(world.mixed, "v1")


@pytest.mark.parametrize("shard_rows", [1, 4, 1_000])
def test_what_was_seen_before_any_row(world: World, monkeypatch: pytest.MonkeyPatch, shard_rows: int) -> None:
    shard_bytes = shard_rows * version(world, "demo", "v1").index.layout.row_stride
    monkeypatch.setattr(mixed, "ShardSetWriter", partial(ShardSetWriter, shard_bytes=shard_bytes))
    name = make(world, mixture(world, shares={"docs": 3, "code": 1}, phases=PHASES, max_repetitions=2))
    shards = version(world, "demo", name)
    rows, tokens = Counter[str](), Counter[str]()
    for position, (source, _, _) in enumerate([*origins(shards), ("", "", 0)]):
        assert seen_before(shards, position) == {each: Seen(rows[each], tokens[each]) for each in ("code", "docs")}
        if source:
            rows[source] += 1
            tokens[source] += int(shards.document_lengths(position, position + 1).lengths.sum())
    assert dict(tokens) == dict(shards.index.tokens_by_source)
    for outside in (-1, shards.rows + 1):
        with pytest.raises(IndexError):
            seen_before(shards, outside)


def test_snapshots_are_pinned(world: World) -> None:
    link = mixture(world, shares={"docs": 1, "code": 1}, snapshots={"docs": ["2026-02"]})
    rows = check_rows(world, version(world, "demo", make(world, link)))
    assert {snapshot for source, snapshot, _ in rows if source == "docs"} == {"2026-02"}
    with pytest.raises(MissingInputError, match=r"snapshots.docs: docs/packed\[2025\] is not there"):
        mixture(world, shares={"docs": 1}, snapshots={"docs": ["2025"]}).recipe(world.store)


# --- continuing ------------------------------------------------------------------------------------------------------


def grow(world: World) -> None:
    """A new snapshot of docs, packed."""
    world.land("docs", "2026-03", {"a.jsonl": jsonl(paragraphs(300, 330))})
    list(world.snapshots())
    for link in source_links(world.docs):
        world.commit(link, "2026-03")


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
    held = open_held_out(world.store, "last", "v1")
    assert held is not None and len({*consumed}) == len(consumed)
    docs = {row for row in consumed if row[0] == "docs"}
    everything = {row for row in packed(world, "docs") if row[1] != "2026-03" or grown}
    assert everything - docs == {row for row in origins(held) if row[0] == "docs"}
    assert held.digest == held_out_digest(world, "pretrain", "v1")
    manifest = fourth.committed(world.store, "v1")
    assert manifest is not None and manifest.ledger.dropped["used_before:docs"].documents > 0
    assert "anneal/mixed[v2]" in manifest.inputs


def held_out_digest(world: World, name: str, number: str) -> str:
    held_out = open_held_out(world.store, name, number)
    assert held_out is not None
    return held_out.digest


def test_a_continuation_that_cannot_be(world: World) -> None:
    shares = {"docs": 1, "code": 1}
    with pytest.raises(MissingInputError, match="nowhere@v1, to be continued, is not made"):
        mixture(world, shares=shares, continues="nowhere@v1", from_row=0).recipe(world.store)
    with pytest.raises(MissingInputError, match=r"from_row: 1000, but demo@v1 has \d+ rows"):
        mixture(world, shares=shares, continues="demo@v1", from_row=1_000).recipe(world.store)
    link = mixture(world, shares=shares, continues="demo@v1", from_row=1, snapshots={"docs": ["2026-02"]})
    with pytest.raises(MissingInputError, match=r"snapshots.docs: 2026-01 is needed, demo@v1 used it"):
        link.recipe(world.store)
    held_out = mixture(world, shares=shares, continues="demo@v1", from_row=1, held_out={"rows": 1})
    with pytest.raises(MixtureError, match="demo@v1 holds out 0 and may have trained on others"):
        make(world, held_out)
    world.land("docs", "2026-02", {"new.jsonl": jsonl(paragraphs(30, 33))})
    for link in source_links(world.docs):
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


def with_short_code(world: World, link: MixedLink) -> MixedLink:
    """The mixture, once `code` is packed in rows of half the length."""
    length = world.code.parameters.sequence_length // 2
    code = replace(world.code, parameters=world.code.parameters.model_copy(update={"sequence_length": length}))
    world.commit(code, "2026-01")
    return replace(link, sources=(world.docs, code))


def test_rows_of_another_length_do_not_continue_a_version(world: World) -> None:
    """Which documents were used up is not known of such rows: they would come again."""
    make(world, mixture(world, "prose", shares={"docs": 1}))
    link = with_short_code(world, mixture(world, "next", shares={"code": 1}, continues="prose@v1", from_row=2))
    with pytest.raises(
        MixtureError, match=r"continues: prose@v1 has rows of 128 tokens .* rows of 64 tokens"
    ) as caught:
        PlannedMixture.of(world.store, link.recipe(world.store))
    assert "leave continues and from_row out" in str(caught.value)


def test_rows_of_two_lengths_are_not_mixed(world: World) -> None:
    link = with_short_code(world, mixture(world, "both", shares={"docs": 1, "code": 1}))
    with pytest.raises(MixtureError, match=r"128 tokens .* in docs/packed\[2026-01\].*; 64 tokens .* code/packed"):
        PlannedMixture.of(world.store, link.recipe(world.store))


def test_a_snapshot_that_was_removed_is_missed(world: World) -> None:
    world.store.packed("docs", "2026-02").remove("index.json")
    after = {"continues": "demo@v1", "from_row": 1}
    with pytest.raises(
        MissingInputError, match=r"continues: docs/packed\[2026-02\] is not there any more since demo@v1"
    ):
        mixture(world, shares={"docs": 1}, **after).recipe(world.store)
    without = mixture(world, "without", shares={"code": 1}, max_repetitions=2, **after)
    make(world, without)
    manifest = without.committed(world.store, "v1")
    assert manifest is not None and "docs/packed[2026-02]" in {name for name, _ in manifest.details["pins"]["docs"]}


def test_tables_of_a_continuation(world: World) -> None:
    link = mixture(world, "next", shares={"docs": 3, "code": 1}, continues="demo@v1", from_row=6, max_repetitions=3)
    version = link.versions(world.store).register(link.recipe(world.store))
    staged = world.make(link, version)
    described = link.describe(staged)
    recipe = json.loads(str(described.values["recipe"]))
    assert recipe == {"shares": {"code": 1, "docs": 3}, "continues": "demo@v1", "from_row": 6, "max_repetitions": 3}
    sources = {each["source"]: each for each in described.tables["sources"]}
    assert (sources["docs"]["used_before"], sources["code"]["used_before"]) == (4, 2)
    docs = next(source for source in PlannedMixture.of(world.store, link.recipe(world.store)).plan.sources[1:])
    assert sources["docs"]["used_in_all"] == f"{(4 + docs.taken) / docs.available:.4f}"
    staged.discard()


@pytest.mark.parametrize(("sources", "kept"), [("a", True), ("ab", True), ("aa", False), ("b", True)])
def test_shares_are_compared_as_whole_numbers(sources: str, kept: bool) -> None:
    """A distance of 1 - 2^-55 is 1.0 as a float, and right; 2 - 2^-54 is wrong."""
    shares = _Shares({"a": 0, "b": 1}, [len(sources)], [[1, 2**55 - 1]])
    names = pa.array([*sources]).dictionary_encode()
    shares.add(pa.record_batch([names], names=["source"]))
    assert shares.kept is kept and shares.position == len(sources)


def test_held_out_tokens_that_are_said_again_are_those_of_the_first_rows(world: World) -> None:
    """However the source has grown: as many rows as before, though others would have other tokens."""
    held_out = [{"by_source": {"docs": {"tokens": tokens}}} for tokens in range(100, 1_500, 100)]
    for number, each in enumerate(held_out):
        make(world, mixture(world, f"before_{number}", shares={"docs": 1}, held_out=each))
    grow(world)
    for number, each in enumerate(held_out):
        after = {"continues": f"before_{number}@v1", "from_row": 1}
        link = mixture(world, "after", shares={"docs": 1}, held_out=each, **after)
        plan = PlannedMixture.of(world.store, link.recipe(world.store)).plan
        manifest = world.mixed.committed(world.store, "v1")
        assert (
            manifest is not None
            and plan.sources[0].stream.rows > manifest.details["plan"]["streams"]["docs"]["eras"][0][1]
        )


def test_held_out_rows_of_several_snapshots(world: World) -> None:
    name = make(world, mixture(world, shares={"docs": 1, "code": 1}, held_out={"by_source": {"docs": {"rows": 12}}}))
    held_out = open_held_out(world.store, "demo", name)
    assert held_out is not None
    snapshots = [snapshot for _, snapshot, _ in check_rows(world, held_out)]
    assert snapshots != sorted(snapshots) and {*snapshots} == {"2026-01", "2026-02"}


def test_a_held_out_row_that_is_another_one_is_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def shifted(pool: Pool, source: str, rows: np.ndarray) -> Any:
        return right(pool, source, np.roll(rows, 1))

    right = Pool.take
    monkeypatch.setattr(Pool, "take", shifted)
    link = mixture(world, "wrong", shares={"docs": 1, "code": 1}, held_out={"rows": 4})
    with pytest.raises(RefusedError, match=r"rows_as_packed: .* 8 of .* sampled rows are not the packed rows"):
        make(world, link)


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
    tables = link.describe(staged).tables
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
    held_out = open_held_out(world.store, "second", "v1")
    assert held_out is not None and held_out.index.rows_by_source == {"code": 2, "docs": 1}
    with pytest.raises(MixtureError, match="held_out: 0 rows of source 'docs', but first@v1 holds out 1"):
        make(world, mixture(world, "third", **recipe, held_out={"by_source": by_source}))
