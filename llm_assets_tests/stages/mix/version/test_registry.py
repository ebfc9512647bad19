from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from llm_assets.stages.mix.version.registry import PinnedRecipe, Versions
from llm_assets.store.folder import Folder
from llm_assets.store.manifest import Input


def recipe(digest: str = "d", code: str = "1-a") -> PinnedRecipe:
    return PinnedRecipe({"shares": {"docs": 1.0}, "seed": 3}, code, {"docs/packed[2026-01]": Input(digest, "g")})


def versions_at(path: Path | str) -> Versions:
    return Versions(Folder(str(path)))


def test_versions_are_numbered(tmp_path: Path) -> None:
    versions = versions_at(tmp_path / "demo")
    assert versions.names() == [] and versions.find(recipe()) is None and versions.recipe("v1") is None
    made = [versions.register(recipe(str(number))) for number in range(11)]
    assert made == [f"v{number}" for number in range(1, 12)] == versions.names()
    assert versions.recipe("v3") == recipe("2")


def test_the_same_recipe_is_the_same_version(tmp_path: Path) -> None:
    versions = versions_at(tmp_path)
    assert versions.register(recipe()) == "v1"
    assert versions.register(recipe("other")) == "v2"
    assert versions.register(recipe(code="2-a")) == "v3"
    same = replace(recipe(), inputs={"docs/packed[2026-01]": Input("d", "another generation")})
    assert versions.register(same) == versions.find(recipe()) == "v1"
    assert versions.recipe("v1") == recipe()


def test_what_is_no_version_is_left_alone(tmp_path: Path) -> None:
    versions = versions_at(tmp_path)
    for name in ("v0/recipe.json", "v01/recipe.json", "x1/recipe.json", "v7/index.json", "v9.txt"):
        versions.folder.put(name, b"{}")
    assert versions.names() == [] and versions.register(recipe()) == "v1"


def test_a_registration_that_was_killed_is_no_version(tmp_path: Path) -> None:
    versions = versions_at(tmp_path)
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1/.recipe.json.01234567.tmp").write_bytes(b'{"parameters"')
    assert versions.names() == []
    assert versions.register(recipe()) == "v1" and versions.recipe("v1") == recipe()


def register(path: str, digests: list[str], answer: str) -> None:
    versions = versions_at(path)
    Path(answer).write_text(json.dumps({digest: versions.register(recipe(digest)) for digest in digests}))


def test_several_processes_register_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    digests = [str(number) for number in range(12)]
    orders = [digests[shift:] + digests[:shift] for shift in range(0, 12, 3)]
    answering = [tmp_path / f"answer-{number}.json" for number in range(len(orders))]
    processes = [
        context.Process(target=register, args=(str(tmp_path / "demo"), order, str(answer)))
        for order, answer in zip(orders, answering, strict=True)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * len(processes)
    answers = [json.loads(answer.read_text()) for answer in answering]
    versions = versions_at(tmp_path / "demo")
    assert all(answer == answers[0] for answer in answers)
    assert sorted(answers[0].values()) == sorted(versions.names()) == sorted(f"v{n}" for n in range(1, 13))
    for digest, name in answers[0].items():
        assert versions.recipe(name) == recipe(digest)


@pytest.mark.parametrize("protocol", ["", "memory://"])
def test_anywhere(tmp_path: Path, protocol: str) -> None:
    versions = versions_at(f"{protocol}{tmp_path}/versions")
    assert [versions.register(recipe(digest)) for digest in "aba"] == ["v1", "v2", "v1"]
