"""Transforms as a user writes them, sound ones and others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from llm_assets.loader import Batch
from llm_assets.loader.transforms import Transform


@dataclass(frozen=True)
class Raised(Transform):
    """Every id is raised by a number, and refuses a row."""

    version: ClassVar[str] = "2"
    by: int = 1
    refused: int = -1

    def __call__(self, batch: Batch) -> Batch:
        if self.refused in batch["row_ids"].tolist():
            raise ZeroDivisionError("not this row")
        return batch | {"input_ids": batch["input_ids"] + self.by}


class NoDataclass(Transform):
    version: ClassVar[str] = "1"

    def __call__(self, batch: Batch) -> Batch:
        return batch


@dataclass(frozen=True)
class Unversioned(Transform):
    def __call__(self, batch: Batch) -> Batch:
        return batch


@dataclass(frozen=True)
class NotForStates(Transform):
    version: ClassVar[str] = "1"
    values: Any = frozenset({1})

    def __call__(self, batch: Batch) -> Batch:
        return batch


@dataclass(frozen=True)
class GivesNothing(Transform):
    version: ClassVar[str] = "1"

    def __call__(self, batch: Batch) -> Any:
        return None


HERE = __name__
