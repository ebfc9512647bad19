"""Paths below the root of the store: the only module that knows the folder names.

<root>/landing/<source>/<snapshot>/*                  arriving files (or another folder that a source names)
<root>/sources/<source>/{raw,cleaned,deduped}/        Delta tables
<root>/sources/<source>/{tokenized,packed}/<snapshot>/    token sets and shard sets
<root>/sources/<source>/order/                        the order in which snapshots were registered
<root>/tokenizers/<name>/
<root>/models/<name>/                                 quality models
<root>/mixtures/<name>/<version>/                     shard sets in training order
<root>/reports/<mixture>/<kind>/<version>/            reports on a version
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa

from llm_assets.store.documents import DocumentTable
from llm_assets.store.folder import Folder
from llm_assets.store.refusals import Refusals

SNAPSHOT_NAME = re.compile(r"^[A-Za-z0-9._-]+$")
SUCCESS = "_SUCCESS"


@dataclass(frozen=True)
class Store:
    """The data store below one root."""

    root: Folder

    @property
    def landing(self) -> Folder:
        """The folder in which files arrive, unless a source names another one."""
        return self.root / "landing"

    def source(self, source: str) -> Folder:
        """The folder of one source."""
        return self.root / f"sources/{source}"

    def documents(self, source: str, stage: str, schema: pa.Schema) -> DocumentTable:
        """The Delta table of a document stage."""
        return DocumentTable(self.source(source) / stage, schema)

    def tokenized(self, source: str, snapshot: str) -> Folder:
        """The token set of a snapshot."""
        return self.source(source) / f"tokenized/{snapshot}"

    def packed(self, source: str, snapshot: str) -> Folder:
        """The shard set of a snapshot."""
        return self.source(source) / f"packed/{snapshot}"

    def tokenizer(self, name: str) -> Folder:
        """A tokenizer's folder."""
        return self.root / f"tokenizers/{name}"

    def model(self, name: str) -> Folder:
        """A quality model's folder."""
        return self.root / f"models/{name}"

    def mixture(self, name: str) -> Folder:
        """All versions of a mixture."""
        return self.root / f"mixtures/{name}"

    def version(self, mixture: str, version: str) -> Folder:
        """The shard set of one version of a mixture."""
        return self.mixture(mixture) / version

    def report(self, asset: str, partition: str) -> Folder:
        """The report that a partition of an asset is, as of `demo/smoke_train`."""
        return self.root / f"reports/{asset}/{partition}"

    @property
    def refusals(self) -> Refusals:
        """Records of partitions that failed a blocking check."""
        return Refusals(self.root / "refusals")

    def order(self, source: str) -> SnapshotOrder:
        """The order in which snapshots of a source were registered."""
        return SnapshotOrder(self.source(source) / "order")


@dataclass(frozen=True)
class SnapshotOrder:
    """An append-only list of snapshot names. Earlier means registered earlier; it never changes again."""

    folder: Folder

    def names(self) -> list[str]:
        """Registered snapshots, oldest first."""
        return list(self._entries().values())

    def _entries(self) -> dict[int, str]:
        """Snapshots by number. Numbers rise; where a person deleted one, there is a gap."""
        files = (name for name in self.folder.names() if not name.startswith("."))
        return {int(name): self.folder.read(name).decode() for name in files}

    def register(self, snapshot: str) -> int:
        """Append the snapshot unless it is in the list; return its place."""
        while True:
            entries = self._entries()
            names = list(entries.values())
            if snapshot in names:
                return names.index(snapshot)
            if self.folder.put_new(f"{max(entries, default=-1) + 1:06d}", snapshot.encode()):
                return len(names)

    def earlier(self, snapshot: str) -> list[str]:
        """Snapshots registered before this one, oldest first."""
        return self.names()[: self.register(snapshot)]


def arrivals(landing: Folder, source: str) -> tuple[list[str], list[str]]:
    """Complete snapshots below `<landing>/<source>`, and the names refused because of their characters."""
    folder = landing / source
    complete = [name for name in folder.names() if not name.startswith("_") and folder.exists(f"{name}/{SUCCESS}")]
    accepted = [name for name in complete if SNAPSHOT_NAME.fullmatch(name)]
    return accepted, [name for name in complete if name not in accepted]
