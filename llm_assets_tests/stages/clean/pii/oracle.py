"""What `find` must find, the plain way: every pattern tried at every byte, again and again."""

from __future__ import annotations

from llm_assets.stages.clean.pii.find import PATTERNS
from llm_assets.stages.clean.pii.spans import KINDS, Find


def everything(text: bytes, document: int, kinds: tuple[str, ...]) -> list[Find]:
    """Finds of one document, of these kinds, in order."""
    taken: list[Find] = []
    while True:
        fresh = _longest_first(_matches(text, document, kinds))
        if not fresh:
            return sorted(taken)
        taken += fresh
        for find in fresh:
            text = text[: find.start] + b"\0" * (find.stop - find.start) + text[find.stop :]


def _matches(text: bytes, document: int, kinds: tuple[str, ...]) -> list[Find]:
    matches = []
    for pattern in PATTERNS:
        for position in range(len(text)):
            extent = pattern.at(text, position) if pattern.kind in kinds else None
            if extent is not None:
                matches.append(Find(document, *extent, KINDS.index(pattern.kind)))
    return matches


def _longest_first(finds: list[Find]) -> list[Find]:
    taken: list[Find] = []
    for find in sorted(finds, key=lambda find: (find.start - find.stop, find.kind, find.start)):
        if all(find.stop <= other.start or other.stop <= find.start for other in taken):
            taken.append(find)
    return taken
