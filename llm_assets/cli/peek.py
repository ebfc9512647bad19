"""`llm-assets peek`: documents of a stage, or decoded rows of a mixture with the boundaries visible."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from rich.console import RenderableType
from rich.panel import Panel
from rich.text import Text

from llm_assets.contract.link import Shown
from llm_assets.errors import LlmAssetsError
from llm_assets.project import Project
from llm_assets.store.layout import Store

_SHADES = ("default", "cyan")


class TargetError(LlmAssetsError, ValueError):
    """A target that names nothing: says what it could name."""


@dataclass(frozen=True)
class PeekTarget:
    """An asset, as `docs/cleaned`, and one of its partitions; None for the newest that is committed."""

    asset: str
    partition: str | None

    @staticmethod
    def parse(text: str) -> PeekTarget:
        """`docs/cleaned`, `docs/cleaned@2026-01` → the target. Raises TargetError."""
        asset, _, partition = text.partition("@")
        if "/" not in asset:
            raise TargetError(f"{text!r} is not a target: write docs/cleaned, docs/cleaned@2026-01 or demo/mixed@v1")
        return PeekTarget(asset, partition or None)


def peek(project: Project, store: Store, target: PeekTarget, count: int, *, lost: bool) -> Iterator[RenderableType]:
    """Some documents or rows of the target, ready to print. Raises TargetError, MissingInputError."""
    link = project.links.get(target.asset)
    if link is None:
        raise TargetError(f"nothing is called {target.asset}; there are: {', '.join(project.links)}")
    keys = link.keys(store)
    if target.partition is not None and target.partition not in keys:
        raise TargetError(f"{target.asset} has no partition {target.partition!r}; there are: {', '.join(keys)}")
    chosen = [target.partition] if target.partition else reversed(keys)
    partition = next((key for key in chosen if link.committed(store, key) is not None), None)
    if partition is None:
        raise TargetError(f"{target.asset} has no committed partition yet: run `llm-assets run`")
    for shown in islice(link.show(store, partition, lost=lost), count):
        yield _panel(shown)


def _panel(shown: Shown) -> Panel:
    """The pieces in alternating colours, a mark after each but the last."""
    text = Text()
    for place, piece in enumerate(shown.pieces):
        text.append(piece, style=_SHADES[place % 2])
        text.append("⏎ document ends\n" if place + 1 < len(shown.pieces) else "", style="bold red")
    notes = Text("; ".join(shown.notes)) if shown.notes else None
    return Panel(text, title=Text(shown.title), title_align="left", subtitle=notes)
