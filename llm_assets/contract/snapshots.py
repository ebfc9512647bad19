"""The snapshots of a source: complete folders of its landing, in the order in which they were registered.

Guarantees that a snapshot that was registered keeps its place. What is read of it is the business of the stages.
"""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import override

from llm_assets.contract.link import Arrivals, Partitions
from llm_assets.store.folder import Folder
from llm_assets.store.layout import Store, arrivals


@dataclass(frozen=True, eq=False)
class Snapshots(Partitions):
    """Snapshots of `source`. `landing` is the folder (path or URI) above the source's own; None: the store's."""

    source: str
    landing: str | None = None

    @property
    @override
    def name(self) -> str:
        return f"{self.source}/snapshots"

    @override
    def keys(self, store: Store) -> list[str]:
        return store.order(self.source).names()

    def landing_folder(self, store: Store) -> Folder:
        """Where snapshots of all sources that share this landing arrive."""
        return Folder(self.landing) if self.landing else store.landing

    def snapshot_folder(self, store: Store, snapshot: str) -> Folder:
        """Where the files of one snapshot are."""
        return self.landing_folder(store) / f"{self.source}/{snapshot}"

    @override
    def register(self, store: Store) -> Arrivals:
        complete, refused = arrivals(self.landing_folder(store), self.source)
        order = store.order(self.source)
        for snapshot in complete:
            order.register(snapshot)
        names = tuple(order.names())
        if refused:
            listed = ", ".join(map(repr, refused))
            rule = "a snapshot's name has only letters, digits, '.', '_' and '-'; rename the folder"
            return Arrivals(names, f"skipped {listed}: {rule}")
        return Arrivals(names)

    @override
    def where(self, store: Store) -> str:
        return f"nothing has landed in {(self.landing_folder(store) / self.source).uri}"
