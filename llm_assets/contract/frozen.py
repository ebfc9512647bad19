"""What the links to `tokenizers/<name>` and `models/<name>` share: made once, from sources or from files, then frozen.

Guarantees that what is there is up to date whatever lands, and that it is never made again with other parameters:
another one needs another name. How it is trained, read and checked is the business of each link.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import pyarrow as pa

from llm_assets.contract.documents import DocumentLink
from llm_assets.contract.link import Link, MissingInputError, State, Work
from llm_assets.contract.stage import Parameters
from llm_assets.store.layout import Store
from llm_assets.store.manifest import Input, Manifest, Staged


class Stored(Protocol):
    """What was made and committed."""

    @property
    def manifest(self) -> Manifest:
        """What it is, and what it was made from."""
        ...


StagedT = TypeVar("StagedT", bound=Staged)
StoredT = TypeVar("StoredT", bound=Stored)
SourceT = TypeVar("SourceT", bound=DocumentLink)


@dataclass(frozen=True)
class TrainingSnapshot:
    """A committed snapshot of a source to train on. Each call of `batches` begins anew."""

    manifest: Manifest
    batches: Callable[[], Iterator[pa.RecordBatch]]


TrainingSource = Sequence[TrainingSnapshot]
"""The committed snapshots of one source, in the order of their registration."""


@dataclass(frozen=True)
class FrozenLink(Link[StagedT], Generic[StagedT, StoredT, SourceT]):
    """A link to something that is made once, of a `kind`; trained on `sources`, if on any.

    Where it is to be made again with other parameters, `error` is raised.
    """

    name: str
    parameters: Parameters
    sources: tuple[SourceT, ...] = ()

    kind: ClassVar[str]
    error: ClassVar[type[Exception]]

    @property
    def asset(self) -> str:
        """See `Link`."""
        return f"{self.kind}s/{self.name}"

    @abstractmethod
    def find(self, store: Store) -> StoredT | None:
        """What was made; None where it is not there."""

    @abstractmethod
    def snapshot(self, store: Store, source: SourceT, name: str) -> TrainingSnapshot | None:
        """A snapshot of one of the sources; None where it is not committed."""

    @abstractmethod
    def make_first(self, work: Work) -> StagedT:
        """Make it, where it is not there."""

    @abstractmethod
    def as_made(self, store: Store, stored: StoredT) -> StagedT:
        """What is there, as `make` gives it out."""

    def inputs(self, store: Store, partition: str) -> dict[str, Input]:
        """The snapshots there are now. Raises MissingInputError where a source has none."""
        return as_inputs(self.training_sources(store))

    def training_sources(self, store: Store) -> list[TrainingSource]:
        """Of every source its snapshots there are now. Raises MissingInputError where one has none."""
        found = [self.snapshots(store, source) for source in self.sources]
        for source, snapshots in zip(self.sources, found, strict=True):
            if not snapshots:
                raise MissingInputError(
                    f"{source.asset} has no snapshot to train {self.asset} on: materialize one first"
                )
        return found

    def snapshots(self, store: Store, source: SourceT) -> TrainingSource:
        """The snapshots of a source there are now."""
        found = (self.snapshot(store, source, name) for name in store.order(source.source).names())
        return [snapshot for snapshot in found if snapshot is not None]

    def committed(self, store: Store, partition: str) -> Manifest | None:
        """See `Link`."""
        stored = self.find(store)
        return stored.manifest if stored else None

    def state(self, store: Store, partition: str) -> State:
        """Frozen: never stale by what lands. Where its parameters are others now, `make` says what to do."""
        manifest = self.committed(store, partition)
        if manifest is not None:
            return State.CURRENT if self._declared_as(manifest) else State.STALE
        return State.MISSING if store.refusals.get(self.asset, partition) is None else State.REFUSED

    def stored(self, store: Store) -> StoredT:
        """What was made. Raises MissingInputError where it is not there."""
        stored = self.find(store)
        if stored is None:
            raise MissingInputError(f"{self.asset} is not there: materialize it first")
        return stored

    def make(self, work: Work) -> StagedT:
        """Make it, unless it is there: then it stays what it is. Raises `error`, and what `make_first` raises."""
        stored = self.find(work.store)
        if stored is None:
            return self.make_first(work)
        if not self._declared_as(stored.manifest):
            raise self.error(
                f"{self.asset} was made with other parameters than it is declared with now. A {self.kind} is frozen: "
                "declare the new one under a new name, or take back the change"
            )
        return self.as_made(work.store, stored)

    def _declared_as(self, manifest: Manifest) -> bool:
        made_with: Any = manifest.details["parameters"]
        return type(self.parameters).model_validate(made_with) == self.parameters


def as_inputs(sources: Sequence[TrainingSource]) -> dict[str, Input]:
    """What a manifest records of the snapshots that were trained on."""
    return {each.manifest.name: each.manifest.as_input for snapshots in sources for each in snapshots}


def all_batches(snapshots: TrainingSource) -> Iterator[pa.RecordBatch]:
    """The documents of all snapshots of a source."""
    for snapshot in snapshots:
        yield from snapshot.batches()
