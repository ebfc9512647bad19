"""Stratified samples: the documents a plain reading of the rules would take, whole, in order, and again the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.contract.stage import Disposition
from llm_assets.stages.clean.columns import CLEANED_SCHEMA
from llm_assets.stages.clean.sampling import CATEGORIES, SAMPLE_SCHEMA, Sampling, SamplingError, draw
from llm_assets.store.documents import SnapshotFiles
from llm_assets_tests.worlds.cleaned_world import CleanedWorld, mixed_texts

CLEAN: dict[str, Any] = {"splits": {"shares": {"train": 8, "test": 2}, "folds": 3}}
Row = dict[str, Any]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> CleanedWorld:
    snapshots = {name: mixed_texts(120, seed) for seed, name in enumerate(["2026-02", "2026-01"])}
    return CleanedWorld.below(tmp_path_factory.mktemp("stratified"), snapshots, **CLEAN)


def population(world: CleanedWorld, disposition: Disposition) -> list[Row]:
    return [
        {"snapshot": name, **row}
        for name, snapshot in world.snapshots.items()
        for batch in snapshot.batches(disposition)
        for row in batch.to_pylist()
    ]


def hash_of(row: Row, seed: int) -> int:
    return xxhash.xxh3_64_intdigest(row["doc_id"], xxhash.xxh3_64_intdigest(f"sample:{seed}".encode()))


def strata_of(rows: list[Row], sampling: Sampling) -> list[tuple[Any, ...]]:
    """Of each row; a number is in the stratum of how many of the quantiles' bounds it reaches."""
    columns: list[list[Any]] = []
    for name in sampling.by:
        if name in CATEGORIES:
            columns.append([(row[name] is None, row[name]) for row in rows])
            continue
        values = [row["statistics"][name] for row in rows]
        ordered = sorted(values)
        bounds = [ordered[int((len(ordered) - 1) * (place / sampling.strata))] for place in range(1, sampling.strata)]
        columns.append([sum(value >= bound for bound in bounds) for value in values])
    return [tuple(column[number] for column in columns) for number in range(len(rows))]


by = st.lists(
    st.sampled_from(["characters", "entropy", "language", "split", "fold", "shard", "file", "snapshot"]),
    unique=True,
    max_size=3,
)
amounts = st.one_of(
    st.floats(0, 1).map(lambda fraction: {"fraction": fraction}),
    st.integers(0, 300).map(lambda documents: {"documents": documents}),
)


@given(by, amounts, st.integers(1, 6), st.integers(0, 3), st.sampled_from([Disposition.KEPT, Disposition.REJECTED]))
@settings(max_examples=60, deadline=None)
def test_it_takes_the_smallest_hashes_of_each_stratum(
    world: CleanedWorld, by: list[str], amount: dict[str, Any], strata: int, seed: int, disposition: Disposition
) -> None:
    sampling = Sampling(**amount, by=tuple(by), strata=strata, seed=seed, disposition=disposition)
    output = Path(world.store.root.path) / "sample.parquet"
    drawn = draw(world.snapshots, world.link.parameters, sampling, output)
    rows = population(world, disposition)
    numbered = strata_of(rows, sampling)
    sizes = Counter(numbered)
    assert [each.documents for each in drawn] == [sizes[stratum] for stratum in sorted(sizes)]
    taken = {stratum: each.taken for stratum, each in zip(sorted(sizes), drawn, strict=True)}
    for stratum, size in sizes.items():
        share = amount["fraction"] if "fraction" in amount else min(1, amount["documents"] / len(rows))
        assert abs(taken[stratum] - share * size) < 1
    if "documents" in amount:
        wanted = min(amount["documents"], len(rows))
        assert sum(taken.values()) == wanted
        rests = {stratum: wanted * size % len(rows) for stratum, size in sizes.items()}
        up = [rests[each] for each in sizes if taken[each] > wanted * sizes[each] // len(rows)]
        down = [rests[each] for each in sizes if taken[each] == wanted * sizes[each] // len(rows)]
        assert not up or not down or min(up) >= max(down)
    chosen = set[bytes]()
    for stratum in sizes:
        members = [row for row, own in zip(rows, numbered, strict=True) if own == stratum]
        smallest = sorted(members, key=lambda row: hash_of(row, seed))[: taken[stratum]]
        chosen |= {row["doc_id"] for row in smallest}
    written = pq.read_table(output)
    assert written.schema.equals(SAMPLE_SCHEMA)
    expected = [row for row in rows if row["doc_id"] in chosen]
    assert written.drop_columns(["stratum"]).to_pylist() == expected
    labels = {own: each.label for own, each in zip(sorted(sizes), drawn, strict=True)}
    own = {row["doc_id"]: labels[stratum] for row, stratum in zip(rows, numbered, strict=True)}
    assert written["stratum"].to_pylist() == [own[row["doc_id"]] for row in expected]


def drawn_ids(world: CleanedWorld, output: Path, **fields: Any) -> list[bytes]:
    draw(world.snapshots, world.link.parameters, Sampling(**fields), output)
    return pq.read_table(output)["doc_id"].to_pylist()


def test_the_same_again_is_the_same_file_and_another_seed_another(world: CleanedWorld, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"documents": 50, "by": ("characters", "language"), "strata": 4}
    first, second, other = (tmp_path / f"{name}.parquet" for name in ("first", "second", "other"))
    drawn_ids(world, first, **fields)
    drawn_ids(world, second, **fields)
    assert first.read_bytes() == second.read_bytes()
    assert drawn_ids(world, other, **fields, seed=1) != drawn_ids(world, first, **fields)


def test_a_larger_sample_contains_a_smaller_one(world: CleanedWorld, tmp_path: Path) -> None:
    small, large = (
        drawn_ids(world, tmp_path / "s.parquet", fraction=fraction, by=("characters",)) for fraction in (0.2, 0.5)
    )
    assert set(small) < set(large)


def test_labels_say_what_documents_have_in_common(world: CleanedWorld, tmp_path: Path) -> None:
    sampling = Sampling(fraction=1, by=("split", "characters", "shard"), strata=2)
    drawn = draw(world.snapshots, world.link.parameters, sampling, tmp_path / "s.parquet")
    rows = population(world, Disposition.KEPT)
    middle = sorted(row["statistics"]["characters"] for row in rows)[(len(rows) - 1) // 2]
    low, high = (
        [row["statistics"]["characters"] for row in rows if (row["statistics"]["characters"] < middle) is below]
        for below in (True, False)
    )
    ranges = [f"{min(each):.6g}–{max(each):.6g}" for each in (low, high)]
    assert [each.of for each in drawn] == [
        {"split": split, "characters": each, "shard": "(none)"} for split in ("test", "train") for each in ranges
    ]
    assert drawn[0].label == f"split test, characters {ranges[0]}, shard (none)"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "say how many"),
        ({"fraction": 0.1, "documents": 3}, "say how many"),
        ({"fraction": 1.5}, "0 to 1"),
        ({"documents": -1}, "-1 documents"),
        ({"documents": 1, "strata": 0}, "0 strata"),
        ({"documents": 1, "by": ("labels",)}, "no strata by 'labels'; there are by value language, split"),
        ({"documents": 1, "by": ("pii.person",)}, "no strata by 'pii.person'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    world: CleanedWorld, tmp_path: Path, fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(SamplingError, match=says):
        draw(world.snapshots, world.link.parameters, Sampling(**fields), tmp_path / "s.parquet")
    assert list(tmp_path.iterdir()) == []


def test_what_was_not_measured_makes_no_strata(tmp_path: Path) -> None:
    world = CleanedWorld.below(tmp_path, {"s": mixed_texts(20, 1)}, language=None)
    parameters = world.link.parameters.model_copy(update={"language": type(world.link.parameters)().language})
    sampling = Sampling(documents=1, by=("language_confidence",))
    with pytest.raises(SamplingError, match="s was made without language_confidence"):
        draw(world.snapshots, parameters, sampling, tmp_path / "s.parquet")


def test_a_file_is_replaced_only_when_all_is_written(
    world: CleanedWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "s.parquet"
    output.write_bytes(b"before")

    def broken(*_: Any) -> Any:
        yield from ()
        raise OSError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(SnapshotFiles, "take", broken)
        with pytest.raises(OSError, match="the disk is gone"):
            draw(world.snapshots, world.link.parameters, Sampling(documents=3), output)
    assert output.read_bytes() == b"before" and list(tmp_path.iterdir()) == [output]
    draw(world.snapshots, world.link.parameters, Sampling(documents=3), output)
    assert pq.read_metadata(output).num_rows == 3 and list(tmp_path.iterdir()) == [output]


def test_a_folder_that_is_not_there_is_told(world: CleanedWorld, tmp_path: Path) -> None:
    with pytest.raises(SamplingError, match="nowhere is no folder"):
        draw(world.snapshots, world.link.parameters, Sampling(documents=3), tmp_path / "nowhere/s.parquet")


def test_texts_are_read_of_the_documents_taken_only(
    world: CleanedWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    batches = SnapshotFiles.batches
    monkeypatch.setattr(
        SnapshotFiles, "batches", lambda self, of, names: read.extend(names) or batches(self, of, names)
    )
    drawn_ids(world, tmp_path / "s.parquet", documents=2, by=("characters", "language", "file"))
    assert set(read) == {"doc_id", "statistics.characters", "language", "file"}


def test_no_documents_make_an_empty_file(tmp_path: Path) -> None:
    world = CleanedWorld.below(tmp_path, {"s": ["short", "too"]})
    for by in ((), ("characters", "language")):
        drawn = draw(world.snapshots, world.link.parameters, Sampling(documents=3, by=by), tmp_path / "s.parquet")
        assert drawn == [] and pq.read_table(tmp_path / "s.parquet").num_rows == 0


def test_the_schema_is_that_of_cleaned_and_where_from() -> None:
    assert SAMPLE_SCHEMA.names == ["snapshot", "stratum", *CLEANED_SCHEMA.names]
    assert set(CATEGORIES) <= set(SAMPLE_SCHEMA.names)
