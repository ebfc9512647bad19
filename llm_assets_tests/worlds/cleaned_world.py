"""Cleaned snapshots of mixed texts, made by the links: for tests of what is told of them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llm_assets.contract.engine import LocalEngine
from llm_assets.contract.link import Work
from llm_assets.stages.clean.link import CleanedLink
from llm_assets.stages.clean.parameters import CleanParameters
from llm_assets.stages.read.link import RawLink
from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.store.documents import CommittedSnapshot, StagedSnapshot
from llm_assets.store.folder import Folder
from llm_assets.store.layout import SUCCESS, Store
from llm_assets_tests.cli.bad_files import paragraph
from llm_assets_tests.worlds.world import jsonl

GERMAN = "Das Haus steht am Rand der Stadt, und die Kinder gehen jeden Morgen zu Fuß in die Schule. "
SPAM = ("casino", "jackpot")


def mixed_texts(count: int, seed: int) -> list[str]:
    """Texts that break rules of every kind, and more that break none."""
    chance = random.Random(seed)
    texts: list[str] = []
    for number in range(count):
        words = paragraph(seed * count + number).split()
        kinds = [
            " ".join(words),
            " ".join(words),
            " ".join(words[: chance.randint(1, 60)]),
            "\n".join([*words[:30], *[" ".join(words[:9])] * chance.randint(1, 9)]),
            f"{' '.join(words)} {' '.join(chance.choice(SPAM) for _ in range(chance.randint(1, 4)))}",
            f"{' '.join(words)} mail someone{number}@example.com",
            GERMAN * chance.randint(1, 6),
            " ".join(word + " # ..." * chance.randint(0, 1) for word in words),
            "12 34 56 78 90 " * chance.randint(2, 30),
        ]
        texts.append(f"{chance.choice(kinds)} {number}")
    return texts


@dataclass(frozen=True)
class CleanedWorld:
    """A source `web` in a store, and how it is cleaned."""

    store: Store
    link: CleanedLink

    @staticmethod
    def below(path: Path, snapshots: Mapping[str, Sequence[str]], **clean: Any) -> CleanedWorld:
        """Landed snapshots by name, read and cleaned."""
        words = path / "spam.txt"
        path.mkdir(parents=True, exist_ok=True)
        words.write_text("".join(f"{word}\n" for word in SPAM))
        blocklists = [{"name": "spam", "words": str(words)}]
        parameters = CleanParameters.model_validate({"blocklists": blocklists, **clean})
        store = Store(Folder(str(path / "store")))
        world = CleanedWorld(store, CleanedLink("web", RawLink("web", ReadParameters()), parameters))
        for name, texts in snapshots.items():
            half = len(texts) // 2
            for file, part in (("a.jsonl", texts[:half]), ("b.jsonl", texts[half:])):
                (store.landing / f"web/{name}").put(file, jsonl(part))
            (store.landing / f"web/{name}").put(SUCCESS, b"")
            store.order("web").register(name)
            world._make(world.link.documents, name).commit()
            world._make(world.link, name).commit()
        return world

    def _make(self, link: Any, partition: str) -> StagedSnapshot:
        return link.make(Work(self.store, LocalEngine(2), partition))

    def cleaned_with(self, parameters: CleanParameters, partition: str) -> StagedSnapshot:
        """The snapshot made with other parameters, staged."""
        return self._make(replace(self.link, parameters=parameters), partition)

    @property
    def snapshots(self) -> dict[str, CommittedSnapshot]:
        """What is committed."""
        table = self.link.table(self.store)
        found = {name: table.snapshot(name) for name in self.store.order("web").names()}
        return {name: snapshot for name, snapshot in found.items() if snapshot is not None}
