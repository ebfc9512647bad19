"""What `find` must find, the plain way: every pattern tried at every byte, again and again."""

from __future__ import annotations

from collections.abc import Sequence

from llm_assets.stages.clean.pii.find import PATTERNS
from llm_assets.stages.clean.pii.spans import KINDS, Find, Kind


def everything(text: bytes, document: int, ranks: Sequence[Sequence[Kind]]) -> list[Find]:
    """Finds of one document, in order: those of the first rank, then those of the next in what is left, and so on."""
    taken: list[Find] = []
    for kinds in ranks:
        while fresh := _longest_first(matches(text, document, kinds)):
            taken += fresh
            for find in fresh:
                text = text[: find.start] + b"\0" * (find.stop - find.start) + text[find.stop :]
    return sorted(taken)


def matches(text: bytes, document: int, kinds: Sequence[Kind]) -> list[Find]:
    """What every pattern of these kinds makes of every byte; some overlap."""
    found = []
    for pattern in PATTERNS:
        for position in range(len(text)):
            extent = pattern.at(text, position) if pattern.kind in kinds else None
            if extent is not None:
                found.append(Find(document, *extent, KINDS.index(pattern.kind)))
    return found


def _longest_first(finds: list[Find]) -> list[Find]:
    taken: list[Find] = []
    for find in sorted(finds, key=lambda find: (find.start - find.stop, find.kind, find.start)):
        if all(find.stop <= other.start or other.stop <= find.start for other in taken):
            taken.append(find)
    return taken
