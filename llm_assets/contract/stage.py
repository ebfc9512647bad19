"""The contract of a stage: parameters, a version, and a function from one part to rows and a ledger.

A part is the unit of parallel work: a few input files, or one file of the stage before. A stage streams: it
yields one `StageOutput` per batch, so memory is bounded by a batch. It decides no policy (fail, alert), it
writes no file, and knows neither the engine that maps it over parts nor Dagster.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from llm_assets.store.ledger import Ledger


class Disposition(StrEnum):
    """The disposition of a row: kept, rejected or quarantined. Each is a partition value of the stage's Delta table."""

    KEPT = "kept"
    REJECTED = "rejected"
    QUARANTINED = "quarantined"
    VERDICT = "verdict"


class Parameters(BaseModel):
    """Base of every stage's parameters: immutable, and an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class StageOutput:
    """The result of a stage for one batch: rows by disposition, and their ledger."""

    rows: Mapping[Disposition, pa.RecordBatch]
    ledger: Ledger


PartT_contra = TypeVar("PartT_contra", contravariant=True)


class Stage(Protocol[PartT_contra]):
    """A stage over document tables. `code_version` changes whenever the output could."""

    @property
    def code_version(self) -> str:
        """Version of the code and of the parameters, as `code_version(…)` makes it."""
        ...

    @property
    def schema(self) -> pa.Schema:
        """Columns of every row the stage yields, whatever its disposition."""
        ...

    def process(self, part: PartT_contra) -> Iterator[StageOutput]:
        """Rows and ledger of one part, batch by batch, in an order that depends on the part alone."""
        ...


def code_version(version: str, parameters: BaseModel) -> str:
    """`<version>-<hash of the parameters>`: what Dagster shows, and what makes a partition stale."""
    digest = hashlib.blake2b(parameters.model_dump_json().encode(), digest_size=6).hexdigest()
    return f"{version}-{digest}"
