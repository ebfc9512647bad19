"""What has arrived and what has to be made: questions that sensors and the command line ask alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from llm_assets.contract.link import Link, State
from llm_assets.stages.mix.link import MixedLink
from llm_assets.stages.pack.link import PackedLink
from llm_assets.stages.read.link import RawLink
from llm_assets.store.layout import Store, arrivals


@dataclass(frozen=True)
class Arrivals:
    """Complete snapshots of a source in the order of registration, and names that cannot be snapshots."""

    snapshots: tuple[str, ...]
    refused: tuple[str, ...]

    @property
    def message(self) -> str:
        """What a person should know of the refused names; empty where there are none."""
        if not self.refused:
            return ""
        names = ", ".join(map(repr, self.refused))
        return f"skipped {names}: a snapshot's name has only letters, digits, '.', '_' and '-'; rename the folder"


def register_arrivals(raw: RawLink, store: Store) -> Arrivals:
    """Register every complete snapshot of a source that is new; tell of all that are there."""
    complete, refused = arrivals(raw.landing_folder(store), raw.source)
    order = store.order(raw.source)
    for snapshot in complete:
        order.register(snapshot)
    return Arrivals(tuple(order.names()), tuple(refused))


def source_links(packed: PackedLink) -> list[Link[Any]]:
    """The links of a source in order: raw, cleaned, deduped, tokenized, packed."""
    tokenized = packed.tokenized
    cleaned = tokenized.deduped.cleaned
    return [cleaned.raw, cleaned, tokenized.deduped, tokenized, packed]


def is_settled(packed: PackedLink, store: Store, snapshot: str) -> bool:
    """Whether nothing is left to do for a snapshot: it is packed and up to date, or a check refused it."""
    for link in source_links(packed):
        state = link.state(store, snapshot)
        if state is State.REFUSED:
            return True
        if state is not State.CURRENT:
            return False
    return True


def unsettled(mixed: MixedLink, store: Store) -> Iterator[str]:
    """Snapshots that the mixture would take and for which something is left to do, as `source[snapshot]`.

    Of a source with pinned snapshots no others are waited for, and no source without a share.
    """
    for packed in mixed.sources:
        pinned = mixed.parameters.snapshots.get(packed.source)
        names = [name for name in store.order(packed.source).names() if pinned is None or name in pinned]
        if not names and packed.source not in mixed.parameters.without_share:
            yield f"{packed.source}[none]"
        yield from (f"{packed.source}[{name}]" for name in names if not is_settled(packed, store, name))
