from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from llm_assets.store.folder import Folder
from llm_assets.store.process import WriterProcess
from llm_assets.store.staging import (
    ABANDONED_AFTER_SECONDS,
    ATTEMPTS,
    Attempt,
    LostFilesError,
    begin,
    begin_in_set,
    check_complete,
    sweep,
)
from llm_assets_tests.store.writers import Moments, attempt_of_another_process, change_record, die, files


def nothing() -> tuple[str, ...]:
    return ()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path))


def written(folder: Folder) -> Attempt:
    attempt = begin(folder, nothing)
    folder.put(f"part=1/part-0-{attempt.generation}.parquet", b"rows")
    folder.put(f"{attempt.generation}/part-0.arrow", b"rows")
    return attempt


def test_an_attempt_is_on_record_until_it_ends(folder: Folder) -> None:
    attempt = begin(folder, nothing)
    assert files(folder) == [f"{ATTEMPTS}/{attempt.generation}.json"]
    attempt.end()
    attempt.end()
    assert files(folder) == []


def test_discard_leaves_nothing(folder: Folder) -> None:
    other = written(folder)
    before = files(folder)
    attempt = written(folder)
    attempt.discard()
    assert files(folder) == before
    assert not folder.exists(attempt.generation) and folder.exists(other.generation)


def test_a_committed_generation_is_not_discarded(folder: Folder) -> None:
    committed: list[str] = []
    attempt = replace(written(folder), committed=lambda: committed)
    committed.append(attempt.generation)
    attempt.discard()
    assert len(files(folder)) == 2 and not folder.exists(f"{ATTEMPTS}/{attempt.generation}.json")


def test_what_living_processes_write_is_not_swept(folder: Folder) -> None:
    own = written(folder)
    with attempt_of_another_process(folder) as other:
        folder.put(f"{other}/part-0.arrow", b"rows")
        before = files(folder)
        sweep(folder, nothing)
        begin(folder, nothing).end()
        assert files(folder) == before and own.generation != other
    sweep(folder, nothing)
    assert {name for name in files(folder) if other in name} == set()
    assert len(files(folder)) == 3


def test_a_dead_attempt_is_swept_when_the_next_begins(folder: Folder) -> None:
    die(written(folder))
    attempt = begin(folder, nothing)
    assert files(folder) == [f"{ATTEMPTS}/{attempt.generation}.json"]


def test_a_dead_attempt_that_was_committed_only_ends(folder: Folder) -> None:
    attempt = written(folder)
    die(attempt)
    sweep(folder, lambda: {attempt.generation})
    assert len(files(folder)) == 2 and not folder.exists(f"{ATTEMPTS}/{attempt.generation}.json")


def test_the_own_process_number_of_a_former_life_is_no_sign_of_life(folder: Folder) -> None:
    """In a container, every start has the same number."""
    attempt = written(folder)
    former = replace(WriterProcess.this(), number=os.getpid(), began=WriterProcess.this().began - 5)
    change_record(attempt, lambda record: record.update(process=former.as_dict()))
    sweep(folder, nothing)
    assert files(folder) == []


def test_a_writer_elsewhere_is_given_a_day(folder: Folder) -> None:
    attempt = written(folder)
    elsewhere = replace(WriterProcess.this(), place="elsewhere//", number=1)
    change_record(attempt, lambda record: record.update(process=elsewhere.as_dict()))
    sweep(folder, nothing)
    assert len(files(folder)) == 3
    change_record(attempt, lambda record: record.update(began=time.time() - ABANDONED_AFTER_SECONDS - 1))
    sweep(folder, nothing)
    assert files(folder) == []


def test_leftovers_of_interrupted_puts_go_too(folder: Folder) -> None:
    folder.put("_attempts/.x.json.01234567.tmp", b"")
    path = folder.local_path("_attempts/.x.json.01234567.tmp")
    sweep(folder, nothing)
    assert path.exists()
    os.utime(path, (0, 0))
    sweep(folder, nothing)
    assert not path.exists()


def test_check_complete_names_what_is_lost(folder: Folder) -> None:
    folder.put("a/1", b"12345")
    folder.put("a/2", b"12345")
    check_complete(folder, "a", {"a/1": 5, "a/2": 5})
    for lost in ({"a/1": 4}, {"a/3": 5}, {"a/1": 5, "b/1": 5}):
        with pytest.raises(LostFilesError, match=r"[ab]/\d"):
            check_complete(folder, "a", lost)


class _Set:
    """The smallest set there is: generations are folders, `index` names the one that readers see."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def live(self) -> str | None:
        return self.folder.read("index").decode() if self.folder.exists("index") else None

    def begin(self) -> Attempt:
        return begin_in_set(self.folder, self.live)

    def write(self, attempt: Attempt) -> None:
        self.folder.put(f"{attempt.generation}/part", b"rows")

    def commit(self, attempt: Attempt) -> None:
        self.folder.put("index", attempt.generation.encode())


def test_superseded_generations_are_deleted_by_the_next_attempt(folder: Folder) -> None:
    tokens = _Set(folder)
    (folder / "0123").put("not-a-generation", b"")
    generations: list[str] = []
    for _ in range(3):
        attempt = tokens.begin()
        tokens.write(attempt)
        tokens.commit(attempt)
        attempt.end()
        generations.append(attempt.generation)
    assert folder.names() == sorted(["0123", ATTEMPTS, *generations[1:], "index"])
    tokens.begin().discard()
    assert folder.names() == sorted(["0123", ATTEMPTS, generations[2], "index"])


@pytest.mark.parametrize("killed", [False, True])
def test_another_commit_at_any_moment_of_a_begin_survives_it(tmp_path: Path, killed: bool) -> None:
    """One process begins; another commits and ends, or is killed right after its commit, at every moment in turn."""
    moment, happened = 0, True
    while happened:
        tokens = _Set(Folder(str(tmp_path / str(moment))))
        first = tokens.begin()
        tokens.write(first)
        tokens.commit(first)
        first.end()
        other = tokens.begin()
        tokens.write(other)

        def finish(tokens: _Set = tokens, other: Attempt = other) -> None:
            tokens.commit(other)
            die(other) if killed else other.end()

        with pytest.MonkeyPatch.context() as patch:
            moments = Moments(patch, moment, finish)
            own = tokens.begin()
            happened = moments.happened
        if not happened:
            finish()
        assert tokens.live() == other.generation
        assert tokens.folder.exists(f"{other.generation}/part"), f"deleted at moment {moment}"
        own.discard()
        assert tokens.folder.exists(f"{other.generation}/part")
        moment += 1
    assert moment > 5


def test_another_attempt_at_any_moment_of_a_begin_survives_it(tmp_path: Path) -> None:
    moment, happened = 0, True
    while happened:
        tokens = _Set(Folder(str(tmp_path / str(moment))))
        begun: list[Attempt] = []

        def start(tokens: _Set = tokens, begun: list[Attempt] = begun) -> None:
            begun.append(tokens.begin())
            tokens.write(begun[0])

        with pytest.MonkeyPatch.context() as patch:
            moments = Moments(patch, moment, start)
            tokens.begin()
            happened = moments.happened
        assert all(tokens.folder.exists(f"{attempt.generation}/part") for attempt in begun), f"moment {moment}"
        moment += 1
    assert moment > 3
