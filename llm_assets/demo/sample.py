"""How much of an installation the demo takes, and which snapshot each document arrives in.

Guarantees that the choice depends on the documents' names and sizes alone and that the texts together never exceed
the budget. Where an installation holds less than was asked for, there is less: nothing is invented.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from llm_assets.demo.harvest import HarvestedDocument, code, prose
from llm_assets.demo.installation import Installation, stable_number

SMALLEST_DEMO_MEGABYTES = 0.1

FIRST, SECOND = "2026-01", "2026-02"

# One document in this many of the first snapshot arrives again, unchanged, in the second.
REPEATED_ONE_IN = 20

# No document may be more than this part of the whole, so that a small sample is still a mixture.
LARGEST_PART = 10


@dataclass(frozen=True)
class DemoSnapshot:
    """One arrival of a source: its documents in the order they are written."""

    source: str
    name: str
    documents: list[HarvestedDocument]

    @property
    def size(self) -> int:
        """UTF-8 bytes of the texts."""
        return sum(document.size for document in self.documents)


def demo_snapshots(installation: Installation, megabytes: float) -> list[DemoSnapshot]:
    """`docs` in two snapshots and `code` in one: half of the megabytes each (10⁶ bytes of UTF-8 text).

    The documents are held in memory. Code takes what docs leave. One document in twenty of the first snapshot of
    `docs` arrives again in the second, and licences repeat by nature, so that deduplication has something to find.
    Raises ValueError for less than 0.1 megabytes.
    """
    if not megabytes >= SMALLEST_DEMO_MEGABYTES:
        raise ValueError(f"{megabytes} megabytes: the demo takes at least {SMALLEST_DEMO_MEGABYTES}")
    budget = int(megabytes * 1_000_000)
    largest = budget // LARGEST_PART
    docs = list(_until_spent(_arriving(prose(installation)), budget // 2, largest))
    left = budget - sum(arrival.size for arrival in docs)
    modules = (Arrival(module, (FIRST,)) for module in code(installation))
    return [
        *(DemoSnapshot("docs", name, _arriving_in(name, docs)) for name in (FIRST, SECOND)),
        DemoSnapshot("code", FIRST, _arriving_in(FIRST, _until_spent(modules, left, largest))),
    ]


@dataclass(frozen=True)
class Arrival:
    """A document and the snapshots it arrives in."""

    document: HarvestedDocument
    snapshots: tuple[str, ...]

    @property
    def size(self) -> int:
        """UTF-8 bytes it takes of the budget, all snapshots together."""
        return self.document.size * len(self.snapshots)


def _arriving(documents: Iterable[HarvestedDocument]) -> Iterator[Arrival]:
    for document in documents:
        if stable_number(document.name, "snapshot") % 2:
            yield Arrival(document, (SECOND,))
        elif stable_number(document.name, "repeat") % REPEATED_ONE_IN == 0:
            yield Arrival(document, (FIRST, SECOND))
        else:
            yield Arrival(document, (FIRST,))


def _until_spent(arrivals: Iterable[Arrival], budget: int, largest: int) -> Iterator[Arrival]:
    """Arrivals up to the first that would exceed the budget, passing over documents above the largest size."""
    left = budget
    for arrival in arrivals:
        if arrival.document.size > largest:
            continue
        if arrival.size > left:
            return
        left -= arrival.size
        yield arrival


def _arriving_in(snapshot: str, arrivals: Iterable[Arrival]) -> list[HarvestedDocument]:
    return [arrival.document for arrival in arrivals if snapshot in arrival.snapshots]
