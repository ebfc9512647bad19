"""Damages, each with the check that has to find it: registered by `damaged_*.py`, tried by `test_checks.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llm_assets.contract.link import Link
from llm_assets_tests.worlds.world import World

Made = tuple[Link[Any], Any]


@dataclass(frozen=True)
class Case:
    """A damage, the check that has to find it, and a word of its message."""

    asset: str
    check: str
    message: str
    damage: Callable[[World], Made]

    def __str__(self) -> str:
        return f"{self.asset}-{self.check}-{self.damage.__name__.strip('_')}"


CASES: list[Case] = []


def case(asset: str, check: str, message: str) -> Callable[[Callable[[World], Made]], Callable[[World], Made]]:
    def register(damage: Callable[[World], Made]) -> Callable[[World], Made]:
        CASES.append(Case(asset, check, message, damage))
        return damage

    return register


def link_of(world: World, stage: str) -> Link[Any]:
    return next(link for link in world.docs.lineage if link.asset == f"docs/{stage}")


def staged(world: World, stage: str, partition: str = "2026-02") -> Made:
    link = link_of(world, stage)
    return link, world.make(link, partition)
