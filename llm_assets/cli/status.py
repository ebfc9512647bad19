"""`llm-assets status`: what there is of every source, snapshot, stage, model, tokenizer and mixture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from llm_assets.contract.link import Link, State
from llm_assets.project import Project
from llm_assets.store.layout import Store
from llm_assets.store.manifest import Manifest

_COLOURS = {State.CURRENT: "green", State.STALE: "yellow", State.MISSING: "dim", State.REFUSED: "red"}


@dataclass(frozen=True)
class PartitionStatus:
    """The state of one partition of one asset."""

    asset: str
    partition: str
    state: State
    manifest: Manifest | None
    uri: str
    refusal: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """A JSON form."""
        manifest = self.manifest
        return {
            "asset": self.asset,
            "partition": self.partition,
            "state": self.state.value,
            "digest": manifest.digest if manifest else None,
            "generation": manifest.generation if manifest else None,
            "ledger": manifest.ledger.as_dict() if manifest else None,
            "uri": self.uri if manifest else None,
            "failed_checks": self.refusal,
        }


def project_status(project: Project, store: Store) -> Iterator[PartitionStatus]:
    """Every partition of every asset, those of one source or mixture together."""
    for links in project.by_partitions():
        for key in links[0].keys(store):
            yield from (_status(link, store, key) for link in links)


def _status(link: Link[Any], store: Store, partition: str) -> PartitionStatus:
    refusal = store.refusals.get(link.asset, partition)
    return PartitionStatus(
        link.asset,
        partition,
        link.state(store, partition),
        link.committed(store, partition),
        link.uri(store, partition),
        dict(refusal.failed) if refusal else {},
    )


def status_table(statuses: list[PartitionStatus]) -> Table:
    """The statuses for a person."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("asset", "partition", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("in", "kept", "dropped", "quarantined", "tokens"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("digest", no_wrap=True)
    for status in statuses:
        state = f"[{_COLOURS[status.state]}]{status.state.value}[/]"
        table.add_row(status.asset, status.partition, state, *_numbers(status.manifest))
    return table


def refusals(statuses: list[PartitionStatus]) -> Iterator[str]:
    """Messages of the checks that kept partitions from being committed."""
    for status in statuses:
        name = f"{status.asset}[{status.partition}]" if status.partition else status.asset
        yield from (f"{name} failed {check}: {message}" for check, message in status.refusal.items())


def _numbers(manifest: Manifest | None) -> list[str]:
    if manifest is None:
        return []
    ledger = manifest.ledger
    items = (ledger.incoming, ledger.kept, ledger.dropped_total, ledger.quarantined_total)
    counts = [*(count.amount(ledger.unit) for count in items), ledger.output.tokens]
    return [*(f"{count:,}" if count else "·" for count in counts), ledger.unit, manifest.digest[:12]]
