from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from llm_assets.store.folder import Folder
from llm_assets.store.layout import SnapshotOrder, Store, arrivals


def order_at(path: Path | str) -> SnapshotOrder:
    return SnapshotOrder(Folder(str(path)))


def test_the_order_is_that_of_registration(tmp_path: Path) -> None:
    order = order_at(tmp_path / "order")
    assert order.names() == []
    assert [order.register(name) for name in ("2026-02", "2026-01", "2026-02", "z")] == [0, 1, 0, 2]
    assert order.names() == ["2026-02", "2026-01", "z"]
    assert order.earlier("2026-01") == ["2026-02"] and order.earlier("z") == ["2026-02", "2026-01"]
    assert order.earlier("new") == ["2026-02", "2026-01", "z"] and order.names()[-1] == "new"


def test_a_deleted_entry_leaves_a_gap(tmp_path: Path) -> None:
    order = order_at(tmp_path)
    for name in ("a", "b", "c"):
        order.register(name)
    order.folder.remove("000001")
    assert order.register("c") == 1
    assert [order.register("d"), order.register("b")] == [2, 3]
    assert order.names() == ["a", "c", "d", "b"]


def test_leftovers_of_killed_writers_are_no_entries(tmp_path: Path) -> None:
    order = order_at(tmp_path)
    order.register("a")
    (tmp_path / ".000001.0a0b0c0d.tmp").write_bytes(b"half")
    assert order.names() == ["a"] and order.register("b") == 1


def register_all(path: str, names: list[str]) -> None:
    order = order_at(path)
    for name in names:
        order.register(name)


def test_several_processes_register_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    names = [f"s{number:02}" for number in range(40)]
    orders = [names[shift:] + names[:shift] for shift in range(0, 40, 8)]
    processes = [context.Process(target=register_all, args=(str(tmp_path), order)) for order in orders]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * len(processes)
    assert sorted(order_at(tmp_path).names()) == names
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{number:06d}" for number in range(40)]


@pytest.mark.parametrize("protocol", ["", "memory://"])
def test_complete_snapshots_arrive(tmp_path: Path, protocol: str) -> None:
    landing = Folder(f"{protocol}{tmp_path}")
    for name in ("2026-02", "2026-01", "bad name", "naïve", "a..b"):
        landing.put(f"docs/{name}/_SUCCESS", b"")
    landing.put("docs/incomplete/file.txt", b"x")
    landing.put("docs/_hidden/_SUCCESS", b"")
    landing.put("docs/a file", b"x")
    landing.put("code/other/_SUCCESS", b"")
    assert arrivals(landing, "docs") == (["2026-01", "2026-02", "a..b"], ["bad name", "naïve"])
    assert arrivals(landing, "nothing") == ([], [])


def test_everything_lies_below_the_root(tmp_path: Path) -> None:
    store = Store(Folder(str(tmp_path)))
    folders = [
        store.landing,
        store.source("docs"),
        store.tokenized("docs", "s"),
        store.packed("docs", "s"),
        store.tokenizer("bpe"),
        store.mixture("m"),
        store.version("m", "v1"),
        store.refusals.folder,
        store.order("docs").folder,
    ]
    assert len({folder.path for folder in folders}) == len(folders)
    assert all(Path(folder.path).is_relative_to(tmp_path) for folder in folders)
    for escape in ("..", "../x"):
        with pytest.raises(ValueError):
            store.packed("docs", escape)
        with pytest.raises(ValueError):
            store.tokenizer(escape) / ".."
