"""Every check of every link is seen to fail, and for the reason it is there for."""

from __future__ import annotations

from typing import Any

import pytest

from llm_assets.contract.link import Link
from llm_assets_tests.worlds import damaged_documents, damaged_mixtures, damaged_tokens
from llm_assets_tests.worlds.damage import CASES, Case
from llm_assets_tests.worlds.world import World

DAMAGED = damaged_documents, damaged_mixtures, damaged_tokens
"""Imported for the cases they register."""


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_check_fails(case: Case, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.patches = monkeypatch
    link, made = case.damage(world)
    outcome = world.outcomes(link, made)[case.check]
    assert not outcome.passed
    assert case.message in outcome.message


def test_no_check_is_left_out(world: World) -> None:
    stages = {link.asset.split("/")[1]: link for link in world.docs.lineage}
    links: dict[str, Link[Any]] = {**stages, "tokenizers": world.tokenizer, "mixed": world.mixed}
    assert {(case.asset, case.check) for case in CASES} == {
        (stage, check.name) for stage, link in links.items() for check in link.checks
    }


def test_every_check_passes_where_nothing_is_wrong(world: World) -> None:
    made = [*((link, "2026-01") for link in world.code.lineage), (world.tokenizer, ""), (world.mixed, "v1")]
    for link, partition in made:
        outcomes = world.outcomes(link, world.make(link, partition)).values()
        assert [outcome.message for outcome in outcomes if not outcome.passed] == []
