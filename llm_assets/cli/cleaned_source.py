"""Which committed snapshots of which source's cleaned documents a command is about."""

from __future__ import annotations

from collections.abc import Mapping

from llm_assets.cli.peek import TargetError
from llm_assets.project import Project
from llm_assets.stages.clean.link import CleanedLink
from llm_assets.store.documents import CommittedSnapshot
from llm_assets.store.layout import Store


def cleaned_snapshots(
    project: Project, store: Store, source: str, snapshot: str | None
) -> tuple[CleanedLink, Mapping[str, CommittedSnapshot]]:
    """The link of a source, and its committed snapshots by name in the order of registration, or the one named.

    Raises TargetError.
    """
    sources = project.of_kind(CleanedLink)
    if source not in sources:
        raise TargetError(f"no source is called {source!r}; there are: {', '.join(sources) or 'none'}")
    link = sources[source]
    table = link.table(store)
    committed = {name: found for name in link.keys(store) if (found := table.snapshot(name)) is not None}
    if not committed:
        raise TargetError(f"{link.asset} has no snapshot yet: run `llm-assets run`")
    if snapshot is None:
        return link, committed
    if snapshot not in committed:
        raise TargetError(f"{link.asset} has no snapshot {snapshot!r}; there are: {', '.join(committed)}")
    return link, {snapshot: committed[snapshot]}
