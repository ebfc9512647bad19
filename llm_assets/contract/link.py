"""The contract of a link: one asset of a project, and how each of its partitions is made.

A link knows the links it is made from, its partitions, its inputs, where a partition lies and how it is opened. It
makes a staged partition and checks it. Guarantees that `make` leaves nothing behind when it fails. When a link runs,
and that a failed check blocks, is decided above.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from llm_assets.contract.engine import LocalEngine
from llm_assets.contract.histograms import Histogram
from llm_assets.contract.progress import Say, say_nothing
from llm_assets.errors import LlmAssetsError
from llm_assets.store.layout import Store
from llm_assets.store.ledger import Count, Ledger
from llm_assets.store.manifest import Input, Manifest, Staged, fingerprint

StagedT = TypeVar("StagedT", bound=Staged)


class MissingInputError(LlmAssetsError, RuntimeError):
    """An input that is not there yet: names it and what to run first."""

    @classmethod
    def of(cls, name: str) -> Self:
        """The error for a partition, `docs/raw[2026-01]`, or an asset that is not committed."""
        return cls(f"{name} is not there", "materialize it first")


class State(StrEnum):
    """The state of a partition.

    Never made; its last attempt failed a blocking check; made from other inputs, code or parameters than now;
    up to date.
    """

    MISSING = "missing"
    REFUSED = "refused"
    STALE = "stale"
    CURRENT = "current"


@dataclass(frozen=True)
class Check:
    """A check of an asset. One that blocks keeps the partition from being committed."""

    name: str
    description: str
    blocking: bool = True


@dataclass(frozen=True)
class Outcome:
    """The result of a check. `message` says in a sentence what was compared."""

    check: str
    passed: bool
    message: str
    details: Mapping[str, float | int | str] = field(default_factory=dict[str, float | int | str])


@dataclass(frozen=True)
class Description:
    """A partition's page: sizes, distributions and samples. All of it computed from the staged data.

    `worked_bytes` is what was worked through to make it, where its speed says something; `values` that are None are
    not known. `tables` are counts and their like. `reasons` is the order in which reasons for dropping count, where
    there is one. `curves` are values at step 1, 2, … by title, float64 [steps].
    """

    rows: int
    bytes: int
    columns: pa.Schema
    worked_bytes: int | None = None
    values: Mapping[str, float | int | str | None] = field(default_factory=dict[str, float | int | str | None])
    histograms: Mapping[str, Histogram] = field(default_factory=dict[str, Histogram])
    samples: Mapping[str, Sequence[Mapping[str, str]]] = field(default_factory=dict[str, Sequence[Mapping[str, str]]])
    tables: Mapping[str, Sequence[Mapping[str, str | int]]] = field(
        default_factory=dict[str, Sequence[Mapping[str, str | int]]]
    )
    reasons: Sequence[str] = ()
    curves: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict[str, npt.NDArray[np.float64]])


@dataclass(frozen=True)
class Work:
    """The arguments of `Link.make`: store, engine, partition. `say` takes lines that tell how far the work is."""

    store: Store
    engine: LocalEngine
    partition: str
    say: Say = say_nothing


@dataclass(frozen=True)
class Arrivals:
    """Partitions to be up to date, in order, and in a sentence what a person should know of others; or empty."""

    keys: tuple[str, ...]
    message: str = ""


class Partitions(ABC):
    """A set of partition keys that several links share, as the snapshots of one source. Equal where the names are."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the set, as `docs/snapshots`; Dagster's dynamic partitions are called so too."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Partitions) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    @abstractmethod
    def keys(self, store: Store) -> list[str]:
        """Registered keys, oldest first."""

    def where(self, store: Store) -> str:
        """A sentence for a person who finds no key: where new ones come from."""
        return ""

    @abstractmethod
    def register(self, store: Store) -> Arrivals:
        """Register keys that are new; return those that are to be up to date. Raises MissingInputError."""


@dataclass(frozen=True)
class Shown:
    """A document or a row for a person: a title, its text in pieces that are told apart by colour, and notes."""

    title: str
    pieces: Sequence[str]
    notes: Sequence[str] = ()


LEDGER_BALANCES = Check(
    "ledger_balances",
    "What came in equals what was kept, dropped and quarantined, equals what the stage before put out, "
    "and equals what was written.",
)


class Link(ABC, Generic[StagedT]):
    """One asset of a project."""

    kinds: ClassVar[frozenset[str]] = frozenset()
    """Tags by which Dagster shows technologies, as `deltalake`."""
    summary: ClassVar[str] = ""
    """A sentence that says what a partition holds."""
    for_training: ClassVar[bool] = False
    """Whether the handle is a shard set that assets get as a loader."""

    @property
    @abstractmethod
    def asset(self) -> str:
        """Key of the asset, as `docs/cleaned`."""

    @property
    def owner(self) -> str:
        """Name of the source, tokenizer, model or mixture that declares it."""
        return self.asset.split("/")[0]

    @property
    @abstractmethod
    def code_version(self) -> str:
        """Changes whenever the output could."""

    @property
    @abstractmethod
    def checks(self) -> Sequence[Check]:
        """The checks that `check` yields an outcome for."""

    @property
    @abstractmethod
    def upstream(self) -> Sequence[Link[Any]]:
        """The links that this one is made from."""

    @property
    def partitions(self) -> Partitions | None:
        """The partitions of the asset, which are those of the first link upstream unless a link says otherwise.

        None where the asset is one thing, whose partition key is empty.
        """
        return self.upstream[0].partitions

    @property
    def lineage(self) -> list[Link[Any]]:
        """The links with the same partitions that lead to this one, first to last, and this one."""
        same = [link for link in self.upstream if link.partitions == self.partitions]
        return [*{each.asset: each for link in same for each in link.lineage}.values(), self]

    def keys(self, store: Store) -> list[str]:
        """The partition keys that are registered; one empty key where the asset has no partitions."""
        return [""] if self.partitions is None else self.partitions.keys(store)

    @abstractmethod
    def uri(self, store: Store, partition: str) -> str:
        """Where readers find a partition."""

    @abstractmethod
    def open(self, store: Store, partition: str) -> object | None:
        """A handle that reads the committed partition, which other assets get as input; None where there is none."""

    def show(self, store: Store, partition: str, *, lost: bool = False) -> Iterator[Shown]:
        """Documents or rows of the committed partition, or those it dropped. Raises MissingInputError."""
        raise MissingInputError(f"{self.asset} has no documents or rows to show")

    @abstractmethod
    def inputs(self, store: Store, partition: str) -> dict[str, Input]:
        """The current inputs of a partition, by name. Raises MissingInputError."""

    @abstractmethod
    def committed(self, store: Store, partition: str) -> Manifest | None:
        """Manifest of the committed partition."""

    @abstractmethod
    def make(self, work: Work) -> StagedT:
        """Make the partition, staged. Raises MissingInputError, and whatever goes wrong."""

    @abstractmethod
    def check(self, staged: StagedT, store: Store) -> Iterator[Outcome]:
        """An outcome for each of `checks`."""

    @abstractmethod
    def describe(self, staged: StagedT, store: Store) -> Description:
        """The description of a staged partition."""

    def fingerprint(self, store: Store, partition: str) -> str | None:
        """The fingerprint of the partition if it were made now; None where an input is missing."""
        try:
            inputs = self.inputs(store, partition)
        except MissingInputError:
            return None
        return fingerprint(self.code_version, {name: value.digest for name, value in inputs.items()})

    def state(self, store: Store, partition: str) -> State:
        """Whether the partition is made, and made from what it would be made from now."""
        manifest, now = self.committed(store, partition), self.fingerprint(store, partition)
        if manifest is not None and manifest.fingerprint == now:
            return State.CURRENT
        refusal = store.refusals.get(self.asset, partition)
        if refusal is not None and refusal.fingerprint == now:
            return State.REFUSED
        return State.MISSING if manifest is None else State.STALE


def balance_outcome(ledger: Ledger, upstream: Count | None, written: Mapping[str, tuple[int, int]]) -> Outcome:
    """The `ledger_balances` outcome.

    `upstream` is the output of the stage before. `written` maps what was counted in the staged files to
    (counted, expected by the ledger).
    """
    problems = [
        f"{unit}: {incoming:,} came in, {accounted:,} are accounted for"
        for (unit, incoming), accounted in zip(
            ledger.incoming.as_dict().items(), ledger.accounted.as_dict().values(), strict=True
        )
        if incoming != accounted
    ]
    if upstream is not None and upstream != ledger.incoming:
        problems.append(f"the stage before put out {upstream}, but {ledger.incoming} came in")
    problems += [
        f"{name}: {counted:,} in the files, {expected:,} in the ledger"
        for name, (counted, expected) in written.items()
        if counted != expected
    ]
    unit = ledger.unit
    message = "; ".join(problems) or (
        f"{ledger.incoming.amount(unit):,} {unit} in = {ledger.kept.amount(unit):,} kept + "
        f"{ledger.dropped_total.amount(unit):,} dropped + {ledger.quarantined_total.amount(unit):,} quarantined"
    )
    return Outcome(LEDGER_BALANCES.name, not problems, message, {"problems": len(problems)})


def rate_outcome(check: str, part: int, whole: int, limit: float, what: str) -> Outcome:
    """An outcome that fails where `part / whole` is over the limit."""
    rate = part / whole if whole else 0.0
    message = f"{rate:.2%} {what} ({part:,} of {whole:,}); the limit is {limit:.2%}"
    return Outcome(check, rate <= limit, message, {"rate": rate, "limit": limit})
