from __future__ import annotations

import multiprocessing
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from llm_assets.store import documents
from llm_assets.store.documents import DocumentTable, OtherSchemaError, StagedSnapshot
from llm_assets.store.staging import LostFilesError
from llm_assets_tests.store.tables import SCHEMA, commit, rows, staged, table_at, texts_of
from llm_assets_tests.store.writers import Moments, die, files


@pytest.fixture
def table(tmp_path: Path) -> DocumentTable:
    return table_at(tmp_path / "t")


def unfinished(table: DocumentTable) -> list[str]:
    return [name for name in files(table.folder) if name.startswith("_attempts")]


def test_nothing_is_there_before_the_first_commit(table: DocumentTable) -> None:
    assert table.snapshots() == {} and table.snapshot("a") is None and table.committed_generations() == set()
    snapshot = staged(table, "a", {"kept": ["one"]})
    assert table.snapshots() == {} and table.snapshot("a") is None
    assert texts_of(snapshot) == ["one"]
    snapshot.commit()
    assert table.snapshots() == {"a": snapshot.manifest.generation}
    assert unfinished(table) == []


def test_what_is_read_back(table: DocumentTable) -> None:
    parts = {"kept": ["one", "two"], "rejected": ["short"]}, {"kept": []}, {"kept": ["three"], "quarantined": [None]}
    staged(table, "2026-01", *parts).commit()
    snapshot = table.snapshot("2026-01")
    assert snapshot is not None
    assert texts_of(snapshot) == ["one", "two", "three"]
    assert texts_of(snapshot, "rejected") == ["short"] and texts_of(snapshot, "quarantined") == [None]
    assert snapshot.parts == [0, 1, 2]
    assert snapshot.count("kept") == 3 and snapshot.count("kept", 0) == 2 and snapshot.count("kept", 1) == 0
    assert snapshot.table("kept", ["record", "text"], 2).to_pydict() == {"record": [0], "text": ["three"]}
    assert pa.Table.from_batches(snapshot.batches("kept"), SCHEMA).slice(0, 2) == pa.Table.from_batches(
        [rows(["one", "two"])]
    )
    with pytest.raises(LookupError, match="verdict"):
        snapshot.table("verdict", ["text"])
    sizes = [path.stat().st_size for path in Path(table.folder.path).rglob("*.parquet")]
    assert snapshot.size == sum(sizes) and len(sizes) == 5
    assert snapshot.manifest.ledger.kept.documents == 3


def test_a_snapshot_without_any_row(table: DocumentTable) -> None:
    staged(table, "empty", {"kept": []}).commit()
    snapshot = table.snapshot("empty")
    assert snapshot is not None and snapshot.parts == [0]
    assert texts_of(snapshot) == [] and snapshot.table("kept", ["text"]).num_rows == 0


def test_a_commit_replaces_its_own_snapshot_only(table: DocumentTable) -> None:
    commit(table, "a", "a1")
    commit(table, "b", "b1")
    staged(table, "a", {"kept": ["a2"], "rejected": ["x"]}).commit()
    staged(table, "a", {"kept": ["a3"]}).commit()
    live = {name: texts_of(table.snapshot(name)) for name in table.snapshots()}  # pyright: ignore
    assert live == {"a": ["a3"], "b": ["b1"]}
    assert pl.scan_delta(table.folder.uri).filter(pl.col("disposition") == "rejected").collect().height == 0


def test_a_table_with_other_columns_is_refused_before_anything_is_written(table: DocumentTable) -> None:
    commit(table, "a", "a1")
    other = DocumentTable(table.folder, SCHEMA.append(pa.field("more", pa.int64())))
    before = files(table.folder)
    with pytest.raises(OtherSchemaError, match=r"has other columns .* delete the folder"):
        other.begin()
    assert files(table.folder) == before


def test_names_that_begin_alike_are_different_snapshots(table: DocumentTable) -> None:
    for name in ("2026-1", "2026-10", "2026-1.x", "20"):
        commit(table, name, name)
    commit(table, "2026-1", "new")
    assert {name: texts_of(table.snapshot(name)) for name in table.snapshots()} == {  # pyright: ignore
        "2026-1": ["new"],
        "2026-10": ["2026-10"],
        "2026-1.x": ["2026-1.x"],
        "20": ["20"],
    }


def test_a_reader_keeps_the_generation_that_it_opened(table: DocumentTable) -> None:
    old = commit(table, "a", "old")
    reading = old.batches("kept", ["text"])
    first = next(reading)
    commit(table, "a", "new")
    table.begin().discard()
    assert first["text"].to_pylist() == ["old"] and texts_of(old) == ["old"]
    again = table.snapshot("a", old.manifest.generation)
    assert again is not None and again.manifest == old.manifest and texts_of(again) == ["old"]
    assert table.snapshot("a", "0" * 12) is None
    assert table.committed_generations() == {old.manifest.generation, table.snapshots()["a"]}


def test_other_readers_of_delta_see_the_same(table: DocumentTable) -> None:
    staged(table, "a", {"kept": ["one", "two"], "rejected": ["r"]}, {"kept": ["three"]}).commit()
    commit(table, "b", "four")
    kept = pl.scan_delta(table.folder.uri).filter(pl.col("disposition") == "kept").collect()
    assert sorted(kept["text"]) == ["four", "one", "three", "two"]
    assert sorted(kept["snapshot"]) == ["a", "a", "a", "b"]
    assert kept["words"].struct.field("count").sum() == 4 and kept["doc_id"].dtype == pl.Binary
    found = DeltaTable(table.folder.uri).to_pyarrow_table(filters=[("snapshot", "=", "a")])
    assert sorted(found["text"].to_pylist()) == ["one", "r", "three", "two"]
    assert found["reasons"].to_pylist() == [[]] * 4
    assert DeltaTable(table.folder.uri).to_pyarrow_table().num_rows == 5


def test_earlier_versions_of_the_table_can_be_read(table: DocumentTable) -> None:
    commit(table, "a", "old")
    commit(table, "a", "new")
    at = {version: pl.read_delta(table.folder.uri, version=version)["text"].to_list() for version in (0, 1, 2)}
    assert at == {0: [], 1: ["old"], 2: ["new"]}


def test_the_log_says_what_was_committed(table: DocumentTable) -> None:
    snapshot = commit(table, "a", "one")
    entry = DeltaTable(table.folder.uri).history(1)[0]
    assert entry["llm_assets"] == {
        "generation": snapshot.manifest.generation,
        "digest": "d",
        "asset": "docs/cleaned",
    }


def test_discard_leaves_nothing(table: DocumentTable) -> None:
    commit(table, "a", "one")
    before = files(table.folder)
    staged(table, "a", {"kept": ["two"]}, {"kept": ["three"], "rejected": ["r"]}).discard()
    assert files(table.folder) == before
    staged(table_at(table.folder.path + "2"), "a", {"kept": ["x"]}).discard()
    assert files(table_at(table.folder.path + "2").folder) == []


def test_discard_after_the_commit_deletes_nothing(table: DocumentTable) -> None:
    """An exception after the commit (a database that is locked, an interrupt) must not cost the data."""
    old = staged(table, "a", {"kept": ["old"]})
    old.commit()
    old.discard()
    staged(table, "a", {"kept": ["new"]}).commit()
    old.discard()
    snapshot = table.snapshot("a", old.manifest.generation)
    assert snapshot is not None and texts_of(snapshot) == ["old"]


def test_nothing_is_committed_where_staged_files_are_lost(table: DocumentTable) -> None:
    commit(table, "a", "old")
    snapshot = staged(table, "a", {"kept": ["new"]}, {"kept": ["newer"]})
    table.folder.remove(snapshot.files[1].path)
    with pytest.raises(LostFilesError, match=snapshot.files[1].path):
        snapshot.commit()
    assert texts_of(table.snapshot("a")) == ["old"]  # pyright: ignore
    table.folder.put(snapshot.files[1].path, b"PAR1")
    with pytest.raises(LostFilesError):
        snapshot.commit()


def test_a_superseded_generation_survives_the_death_of_its_writer(table: DocumentTable) -> None:
    """Verdicts may still be about it. Its writer committed, but died before it ended its attempt."""
    old = staged(table, "a", {"kept": ["old"]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("llm_assets.store.staging.Attempt.end", lambda attempt: die(attempt))
        old.commit()
    new = staged(table, "a", {"kept": ["new"]})
    assert unfinished(table) == [f"_attempts/{new.manifest.generation}.json"]
    new.commit()
    table.begin().discard()
    snapshot = table.snapshot("a", old.manifest.generation)
    assert snapshot is not None and texts_of(snapshot) == ["old"]


@pytest.mark.parametrize("killed", [False, True])
def test_a_commit_at_any_moment_of_another_begin_survives_it(tmp_path: Path, killed: bool) -> None:
    moment, happened = 0, True
    while happened:
        table = table_at(tmp_path / str(moment))
        commit(table, "b", "b")
        other = staged(table, "a", {"kept": ["other"]})

        def finish(other: StagedSnapshot = other) -> None:
            with pytest.MonkeyPatch.context() as patch:
                if killed:
                    patch.setattr("llm_assets.store.staging.Attempt.end", lambda attempt: die(attempt))
                other.commit()

        with pytest.MonkeyPatch.context() as patch:
            moments = Moments(patch, moment, finish)
            own = table.begin()
            happened = moments.happened
        if not happened:
            finish()
        own.discard()
        table.begin().discard()
        snapshot = table.snapshot("a")
        assert snapshot is not None and texts_of(snapshot) == ["other"], f"moment {moment}"
        moment += 1
    assert moment > 3


def test_a_commit_that_others_keep_disturbing_is_tried_again(
    table: DocumentTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "COMMIT_ATTEMPTS", 3)
    monkeypatch.setattr("time.sleep", lambda _: None)
    once = DocumentTable._commit_once
    failures = 2
    tried = 0

    def disturbed(self: DocumentTable, snapshot: StagedSnapshot) -> None:
        nonlocal tried
        tried += 1
        if tried <= failures:
            raise CommitFailedError("a concurrent transaction deleted data")
        once(self, snapshot)

    monkeypatch.setattr(DocumentTable, "_commit_once", disturbed)
    assert texts_of(commit(table, "a", "one")) == ["one"] and tried == 3
    failures, tried = 9, 0
    with pytest.raises(CommitFailedError):
        commit(table, "a", "two")
    assert tried == 3 and texts_of(table.snapshot("a")) == ["one"]  # pyright: ignore


def commit_rounds(path: str, name: str, rounds: int) -> None:
    """What each of the processes below does."""
    table = table_at(path)
    for number in range(rounds):
        staged(table, name, {"kept": [f"{name} {number}"], "rejected": [name]}).commit()


def test_commits_of_several_processes_all_succeed(tmp_path: Path) -> None:
    """Also the very first ones, which all want to create the table."""
    context = multiprocessing.get_context("spawn")
    names = [f"s{number}" for number in range(8)]
    processes = [context.Process(target=commit_rounds, args=(str(tmp_path / "t"), name, 3)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 8
    table = table_at(tmp_path / "t")
    assert {name: texts_of(table.snapshot(name)) for name in table.snapshots()} == {  # pyright: ignore
        name: [f"{name} 2"] for name in names
    }
    assert len(table.committed_generations()) == 24 and unfinished(table) == []
    assert DeltaTable(table.folder.uri).to_pyarrow_table().num_rows == 16


def commit_the_same(path: str, name: str, rounds: int) -> None:
    """What each of the processes below does."""
    table = table_at(path)
    for number in range(rounds):
        staged(table, "same", {"kept": [f"{name} {number} {part}" for part in range(3)]}).commit()


def test_processes_that_commit_the_same_snapshot_replace_each_other(tmp_path: Path) -> None:
    """Every version of the table has the rows of one of them."""
    context = multiprocessing.get_context("spawn")
    names = [f"p{number}" for number in range(4)]
    processes = [context.Process(target=commit_the_same, args=(str(tmp_path / "t"), name, 4)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 4
    table = table_at(tmp_path / "t")
    assert DeltaTable(table.folder.uri).version() == 16
    for version in range(1, 17):
        rows_there = pl.read_delta(table.folder.uri, version=version)["text"].to_list()
        assert len(rows_there) == 3 and len({text.rsplit(" ", 1)[0] for text in rows_there}) == 1
    assert len(table.committed_generations()) == 16 and unfinished(table) == []


@pytest.mark.parametrize("other", ["a", "b"])
def test_a_commit_between_reading_and_writing_the_log(
    other: str, table: DocumentTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(table, "a", "old")
    mine, theirs = staged(table, "a", {"kept": ["mine"]}), staged(table, other, {"kept": ["theirs"]})
    opened = DocumentTable._open
    waiting = [theirs]

    def disturbed(self: DocumentTable) -> DeltaTable | None:
        found = opened(self)
        if waiting:
            waiting.pop().commit()
        return found

    monkeypatch.setattr(DocumentTable, "_open", disturbed)
    mine.commit()
    found = pl.read_delta(table.folder.uri)
    assert (
        dict(found.select("snapshot", "text").iter_rows()) == {"b": "theirs", "a": "mine"}
        if other == "b"
        else {"a": "mine"}
    )
    assert found.height == len({"a", other})


def test_parquet_files_say_how_many_rows_the_log_does(table: DocumentTable) -> None:
    staged(table, "a", {"kept": ["one", "two"], "rejected": ["r"]}).commit()
    actions = pa.table(DeltaTable(table.folder.uri).get_add_actions(flatten=True)).to_pylist()
    assert {row["path"]: row["num_records"] for row in actions} == {
        row["path"]: pq.read_metadata(table.folder.local_path(row["path"])).num_rows for row in actions
    }
