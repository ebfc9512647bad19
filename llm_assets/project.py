"""Every link of a project, made once: the graph that all others walk.

Guarantees one link for each asset, upstream before downstream. What a link does is its own business, how it is
declared that of the components, and when it runs that of those who ask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, TypeVar

from llm_assets.contract.documents import DocumentLink
from llm_assets.contract.link import Link, Partitions, State
from llm_assets.errors import LlmAssetsError
from llm_assets.stages.mix.link import MixedLink
from llm_assets.store.layout import Store

LinkT = TypeVar("LinkT", bound=Link[Any])
Maker = Callable[[], Link[Any]]


class CircleError(LlmAssetsError, ValueError):
    """Assets that would be made from each other."""


class Project:
    """The links of a project by asset. Each is made by its maker when it is first asked for, and only then."""

    def __init__(self, makers: Mapping[str, Maker]) -> None:
        self._makers = makers
        self._made: dict[str, Link[Any]] = {}
        self._making: list[str] = []

    def link(self, asset: str) -> Link[Any]:
        """The link of an asset, as `docs/cleaned`. Raises KeyError, CircleError and what a maker raises."""
        if asset in self._making:
            raise CircleError(f"made from each other: {' ← '.join([*self._making, asset])}")
        if asset not in self._made:
            maker = self._makers[asset]
            self._making.append(asset)
            try:
                self._made[asset] = maker()
            finally:
                self._making.pop()
        return self._made[asset]

    def documents(self, asset: str) -> DocumentLink:
        """The link of an asset that holds documents. Raises TypeError for another one."""
        link = self.link(asset)
        if not isinstance(link, DocumentLink):
            raise TypeError(f"{asset} holds no documents")
        return link

    def make_all(self) -> None:
        """Make every link. Raises what a maker raises."""
        for asset in self._makers:
            self.link(asset)

    @cached_property
    def links(self) -> Mapping[str, Link[Any]]:
        """All links by asset; each comes after those it is made from."""
        return {link.asset: link for link in in_order(self.link(asset) for asset in self._makers)}

    def of_kind(self, kind: type[LinkT]) -> dict[str, LinkT]:
        """The links of a class, by the name of what declares them."""
        return {link.owner: link for link in self.links.values() if isinstance(link, kind)}

    def by_partitions(self) -> list[list[Link[Any]]]:
        """All links, those with the same partitions together, as the links of one source."""
        groups: dict[Partitions | str, list[Link[Any]]] = {}
        for link in self.links.values():
            groups.setdefault(link.partitions or link.asset, []).append(link)
        return list(groups.values())

    def needed_for(self, owner: str) -> list[Link[Any]]:
        """The links that a source, tokenizer, model or mixture declares, after all that these are made from."""
        return list(in_order(link for link in self.links.values() if link.owner == owner))


def in_order(links: Iterable[Link[Any]]) -> Iterator[Link[Any]]:
    """Links and all that they are made from, each once and after those."""
    seen: set[str] = set()

    def walk(link: Link[Any]) -> Iterator[Link[Any]]:
        if link.asset not in seen:
            seen.add(link.asset)
            for each in link.upstream:
                yield from walk(each)
            yield link

    for link in links:
        yield from walk(link)


def units(links: Iterable[Link[Any]]) -> list[list[Link[Any]]]:
    """The links in pieces that one run can make for a partition: each begins where something of others is needed.

    Pieces come after those that they need, if the links do.
    """
    pieces: list[list[Link[Any]]] = []
    ends: dict[str, list[Link[Any]]] = {}
    for link in links:
        before = [each for each in link.upstream if each.partitions == link.partitions]
        piece = ends.pop(before[0].asset, None) if len(before) == len(link.upstream) == 1 else None
        if piece is None:
            piece = []
            pieces.append(piece)
        piece.append(link)
        ends[link.asset] = piece
    return pieces


def is_settled(link: Link[Any], store: Store, partition: str) -> bool:
    """Whether nothing is left to do for a partition: it and those before are up to date, or a check refused one."""
    for each in link.lineage:
        state = each.state(store, partition)
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
        names = [name for name in packed.keys(store) if pinned is None or name in pinned]
        if not names and packed.source not in mixed.parameters.without_share:
            yield f"{packed.source}[none]"
        yield from (f"{packed.source}[{name}]" for name in names if not is_settled(packed, store, name))
