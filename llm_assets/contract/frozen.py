"""Links to what is made once, from sources or from files, and then frozen: tokenizers and quality models.

Guarantees that what is there is up to date whatever lands, and that it is never made again with other parameters:
another one needs another name. How it is trained, read and checked is the business of each link.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import pyarrow as pa
from typing_extensions import override

from llm_assets.contract.documents import DocumentLink, Documents, as_inputs
from llm_assets.contract.link import Link, MissingInputError, Partitions, State, Work
from llm_assets.contract.stage import Parameters
from llm_assets.store.layout import Store
from llm_assets.store.manifest import Input, Manifest, Staged


class Stored(Protocol):
    """A tokenizer or model that is made and committed."""

    @property
    def manifest(self) -> Manifest:
        """The manifest with which it was committed."""
        ...


StagedT = TypeVar("StagedT", bound=Staged)
StoredT = TypeVar("StoredT", bound=Stored)

TrainingSource = Sequence[Documents]
"""The committed snapshots of one source, in the order of their registration."""


@dataclass(frozen=True)
class FrozenLink(Link[StagedT], Generic[StagedT, StoredT]):
    """A link to something that is made once, of a `kind`; trained on `sources`, if on any.

    `noun` is the word for it in messages. `trained_on` are the columns of the documents that it reads. Where it is to
    be made again with other parameters, `error` is raised.
    """

    name: str
    parameters: Parameters
    sources: tuple[DocumentLink, ...] = ()

    kind: ClassVar[str]
    noun: ClassVar[str]
    trained_on: ClassVar[tuple[str, ...]]
    error: ClassVar[type[Exception]]

    @property
    @override
    def asset(self) -> str:
        return self.key(self.name)

    @classmethod
    def key(cls, name: str) -> str:
        """The asset of that name: `tokenizers/demo`."""
        return f"{cls.kind}s/{name}"

    @property
    @override
    def owner(self) -> str:
        return self.name

    @property
    @override
    def upstream(self) -> Sequence[Link[Any]]:
        return self.sources

    @property
    @override
    def partitions(self) -> Partitions | None:
        return None

    @abstractmethod
    def find(self, store: Store) -> StoredT | None:
        """The committed tokenizer or model; None where there is none."""

    @abstractmethod
    def make_first(self, work: Work) -> StagedT:
        """Make it, where it is not there."""

    @abstractmethod
    def as_made(self, store: Store, stored: StoredT) -> StagedT:
        """The committed tokenizer or model as a staged one, the result of `make`."""

    def inputs(self, store: Store, partition: str) -> dict[str, Input]:
        """The snapshots there are now. Raises MissingInputError where a source has none."""
        return training_inputs(self.training_sources(store))

    def training_sources(self, store: Store) -> list[TrainingSource]:
        """The current snapshots of every source. Raises MissingInputError where one has none."""
        found = [self.snapshots(store, source) for source in self.sources]
        for source, snapshots in zip(self.sources, found, strict=True):
            if not snapshots:
                raise MissingInputError(
                    f"{source.asset} has no snapshot to train {self.asset} on: materialize one first"
                )
        return found

    def snapshots(self, store: Store, source: DocumentLink) -> TrainingSource:
        """The committed snapshots of a source."""
        return [source.documents_of(store, key) for key in source.keys(store) if source.committed(store, key)]

    def batches(self, snapshots: TrainingSource) -> Iterator[pa.RecordBatch]:
        """The documents of all snapshots of a source, as the columns `trained_on`."""
        for snapshot in snapshots:
            yield from snapshot.batches(self.trained_on)

    @override
    def open(self, store: Store, partition: str) -> StoredT | None:
        return self.find(store)

    @override
    def committed(self, store: Store, partition: str) -> Manifest | None:
        stored = self.find(store)
        return stored.manifest if stored else None

    def state(self, store: Store, partition: str) -> State:
        """Frozen: never stale by what lands. Where its parameters are others now, `make` says what to do."""
        manifest = self.committed(store, partition)
        if manifest is not None:
            return State.CURRENT if self._declared_as(manifest) else State.STALE
        return State.MISSING if store.refusals.get(self.asset, partition) is None else State.REFUSED

    def stored(self, store: Store) -> StoredT:
        """The committed tokenizer or model. Raises MissingInputError where it is not there."""
        stored = self.find(store)
        if stored is None:
            raise MissingInputError.of(self.asset)
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


def training_inputs(sources: Sequence[TrainingSource]) -> dict[str, Input]:
    """The form in which a manifest records the snapshots that were trained on."""
    return as_inputs(each.manifests[0] for snapshots in sources for each in snapshots)
