from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from llm_assets.kernels.places import OTHERS_KEPT, PLACE_VARIABLE, SavedCode


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(PLACE_VARIABLE, str(tmp_path))
    return tmp_path


def kept(digest: str, function: str = "größer") -> SavedCode:
    return SavedCode.of("package.module", Path("package/module.py"), function, digest)


def saved_at(place: Path, digest: str, name: str, time: int) -> None:
    assert kept(digest).save(name, pickle.dumps(digest))
    (file,) = place.rglob(f"*-{digest}-{name}.*")
    os.utime(file, (time, time))


def test_other_sources_leave_a_bounded_number_of_files(place: Path) -> None:
    assert kept("other", "größer.als").save("x", pickle.dumps("of another function"))
    for number in range(2 * OTHERS_KEPT):
        saved_at(place, f"d{number}", "x", number)
        saved_at(place, f"d{number}", "y", number)
    there = [number for number in range(2 * OTHERS_KEPT) if list(kept(f"d{number}").load("x"))]
    assert there == list(range(2 * OTHERS_KEPT - 1 - OTHERS_KEPT // 2, 2 * OTHERS_KEPT))  # two files each, the latest
    assert list(kept("other", "größer.als").load("x")) == ["of another function"]


def test_own_files_stay_however_many(place: Path) -> None:
    for number in range(3 * OTHERS_KEPT):
        saved_at(place, "same", f"{number}", number)
    assert all(list(kept("same").load(f"{number}")) == ["same"] for number in range(3 * OTHERS_KEPT))


def test_clear_removes_the_functions_files_alone(place: Path) -> None:
    for function in ("größer", "größer.als"):
        assert kept("d", function).save("x", pickle.dumps(function))
    kept("another digest").clear()
    assert list(kept("d").load("x")) == []
    assert list(kept("d", "größer.als").load("x")) == ["größer.als"]


def test_saving_again_replaces_whole(place: Path) -> None:
    assert kept("d").save("x", pickle.dumps("long" * 1000))
    assert kept("d").save("x", pickle.dumps("short"))
    assert list(kept("d").load("x")) == ["short"]
    assert len([file for file in place.rglob("*") if file.is_file()]) == 1
