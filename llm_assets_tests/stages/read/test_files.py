from __future__ import annotations

import os
import random
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.stages.read.files import InputFile, ReadPart, group_files
from llm_assets.store.folder import Folder
from llm_assets_tests.stages.read.listing import list_files

NAMES = st.text("abc/", min_size=1, max_size=6)
FILES = st.dictionaries(NAMES, st.integers(0, 50)).map(
    lambda sizes: [InputFile(name, size) for name, size in sizes.items()]
)
FOLDER = Folder("memory://files")


def write(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def test_files_of_all_levels_are_listed_by_name_with_their_sizes(tmp_path: Path) -> None:
    write(tmp_path, "b.txt", "a/deep/z.txt", "a.txt", "ä.txt", "a b.txt")
    names = ["a b.txt", "a.txt", "a/deep/z.txt", "b.txt", "ä.txt"]
    assert list_files(Folder(str(tmp_path))) == [InputFile(name, len(name.encode())) for name in names]


def test_names_that_start_with_underscore_or_dot_are_ignored_at_any_level(tmp_path: Path) -> None:
    write(tmp_path, "_SUCCESS", ".hidden", "a/_temporary/x.txt", "a/.git/x.txt", "_a/x.txt", "a/_x", "x_.txt")
    assert [file.name for file in list_files(Folder(str(tmp_path)))] == ["x_.txt"]


def test_a_parent_folder_that_starts_with_a_dot_does_not_matter(tmp_path: Path) -> None:
    write(tmp_path / ".landing" / "_s", "x.txt")
    assert [file.name for file in list_files(Folder(str(tmp_path / ".landing" / "_s")))] == ["x.txt"]


def test_what_is_neither_file_nor_folder_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(ValueError, match=r"pipe\.jsonl.*neither a file nor a folder"):
        list_files(Folder(str(tmp_path)))


@pytest.mark.parametrize("target", ["nowhere", "folder"])
def test_a_link_to_no_file_is_an_error_that_names_both(tmp_path: Path, target: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / target)
    with pytest.raises(ValueError, match=rf"gone\.jsonl.*{target}"):
        list_files(Folder(str(tmp_path)), links=True)


def test_links_inside_of_landing_are_the_files_they_lead_to(tmp_path: Path) -> None:
    write(tmp_path, "docs/1/größe.txt", "docs/2/b.txt")
    (tmp_path / "docs/2/a.txt").symlink_to("../1/größe.txt")
    found = list_files(Folder(str(tmp_path / "docs/2")), Folder(str(tmp_path)))
    assert found == [InputFile("a.txt", len("docs/1/größe.txt".encode())), InputFile("b.txt", 12)]


def test_links_out_of_landing_have_to_be_asked_for(tmp_path: Path) -> None:
    write(tmp_path, "cache/blob", "landing/docs/1/a.txt")
    (tmp_path / "landing/docs/1/b.txt").symlink_to(tmp_path / "cache/blob")
    folder, landing = Folder(str(tmp_path / "landing/docs/1")), Folder(str(tmp_path / "landing"))
    with pytest.raises(ValueError, match=r"b\.txt.*landing_links: true"):
        list_files(folder, landing)
    assert [file.name for file in list_files(folder, landing, links=True)] == ["a.txt", "b.txt"]


def test_a_link_changes_with_its_file(tmp_path: Path) -> None:
    write(tmp_path, "real.txt")
    (tmp_path / "link.txt").symlink_to("real.txt")
    before = {file.name: (file.size, file.version) for file in Folder(str(tmp_path)).listing()}
    os.utime(tmp_path / "real.txt", (1, 1))
    after = {file.name: (file.size, file.version) for file in Folder(str(tmp_path)).listing()}
    assert before["link.txt"] == before["real.txt"] != after["real.txt"] == after["link.txt"]


def test_listing_sees_files_that_came_after_the_last_one(tmp_path: Path) -> None:
    folder = Folder("memory://arriving")
    folder.put("a.txt", b"a")
    assert len(list_files(folder)) == 1
    folder.put("b.txt", b"b")
    assert [file.name for file in list_files(folder)] == ["a.txt", "b.txt"]


@given(FILES, st.integers(1, 100), st.randoms())
def test_parts_hold_each_file_once_and_do_not_depend_on_the_listing(
    files: list[InputFile], target: int, shuffle: random.Random
) -> None:
    parts = group_files(FOLDER, files, target)
    assert [file for part in parts for file in part.files] == sorted(files, key=lambda file: file.name)
    assert all(len(part.files) == 1 or sum(file.size for file in part.files) <= target for part in parts)
    shuffled = shuffle.sample(files, len(files))
    assert group_files(FOLDER, shuffled, target) == parts


@given(FILES, st.integers(1, 100))
def test_no_part_could_have_taken_the_first_file_of_the_next(files: list[InputFile], target: int) -> None:
    parts = group_files(FOLDER, files, target)
    for part, following in pairwise(parts):
        assert sum(file.size for file in part.files) + following.files[0].size > target


def test_a_file_larger_than_a_part_is_a_part_alone() -> None:
    small, large, other = InputFile("a", 1), InputFile("b", 1000), InputFile("c", 1)
    assert group_files(FOLDER, [small, large, other], 10) == [ReadPart(FOLDER, (f,)) for f in (small, large, other)]
