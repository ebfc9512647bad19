"""Versions of mixtures: phases, held-out rows and pins, from packed rows to rows in training order."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from llm_assets.contract.link import MissingInputError
from llm_assets.stages.mix import link as mixed
from llm_assets.stages.mix.checks import _Shares
from llm_assets.stages.mix.plan import MixtureError
from llm_assets.stages.mix.version import shuffle
from llm_assets.stages.mix.version.counts import Seen, seen_before
from llm_assets.stages.mix.version.inputs import PlannedMixture
from llm_assets.stages.mix.version.pool import Pool
from llm_assets.stages.mix.version.validation_set import open_validation_set
from llm_assets.store.shards.writer import ShardSetWriter
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
from llm_assets_tests.worlds.world import RefusedError, World

PHASES = [{"name": "main"}, {"name": "end", "fraction": 0.3, "shares": {"code": 3, "docs": 1}}]


def test_phases_and_held_out_rows(world: World) -> None:
    link = mixture(world, shares={"docs": 3, "code": 1}, phases=PHASES, held_out={"rows": 2}, max_repetitions=2)
    name = make(world, link)
    shards = version(world, "demo", name)
    rows = check_rows(world, shards)
    held_out = open_validation_set(world.store, "demo", name)
    assert held_out is not None
    held = check_rows(world, held_out)
    assert Counter(source for source, _, _ in held) == {"docs": 2, "code": 2} and not {*held} & {*rows}
    manifest = link.committed(world.store, name)
    assert manifest is not None and manifest.details["held_out"]["digest"] == held_out.digest
    assert manifest.ledger.dropped["held_out:docs"].rows == 2
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
    assert open_validation_set(made_world.store, "demo", "v1") is None
    assert open_validation_set(made_world.store, "demo", "v7") is None


def test_other_seeds_and_shares_hold_out_the_same(world: World) -> None:
    found = []
    for recipe in ({"shares": {"docs": 1, "code": 1}, "seed": 1}, {"sources": ["docs", "code"], "seed": 2}):
        name = make(world, mixture(world, **recipe, held_out={"by_source": {"docs": {"tokens": 300}}}))
        held_out = open_validation_set(world.store, "demo", name)
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
        for source, row in zip(*map(list, planned.plan.rows_at(0, planned.plan.total_rows)), strict=True)
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
    held_out = open_validation_set(world.store, "demo", name)
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


def test_rows_of_two_lengths_are_not_mixed(world: World) -> None:
    link = with_short_code(world, mixture(world, "both", shares={"docs": 1, "code": 1}))
    with pytest.raises(MixtureError, match=r"128 tokens .* in docs/packed\[2026-01\].*; 64 tokens .* code/packed"):
        PlannedMixture.of(world.store, link.recipe(world.store))
