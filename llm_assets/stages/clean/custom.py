"""Statistics and edits of cleaning that a user supplies.

Guarantees that what they give is a finite number, or a text, for every document, and that an error says whose code it
was. When they are called, and what follows from a number, is the business of the stage, as with its own.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from llm_assets.contract.plugin import Plugin
from llm_assets.kernels.arrow import byte_lengths
from llm_assets.stages.clean.rules import Entry
from llm_assets.store.ledger import Count

DOCUMENTS: Final = pa.schema(
    [
        pa.field("id", pa.large_string()),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("metadata", pa.large_string()),
    ]
)
"""The columns that statistics and edits see: the record's own id, the text, and the record's other fields as JSON."""


class _Custom(Plugin, Entry):
    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$")

    @property
    def label(self) -> str:
        """`custom.<name>`: the statistic, or the edit, in ledgers, rules and tables."""
        return f"custom.{self.name}"


class Statistic(_Custom):
    """A number of each document: the statistic `custom.<name>`, that thresholds can be set on.

    Its methods are called by several threads at once.
    """

    group: ClassVar[str] = "llm_assets.statistics"

    @abstractmethod
    def measure(self, documents: pa.RecordBatch) -> npt.NDArray[np.float64]:
        """The numbers of a batch of `DOCUMENTS`, finite: float64 [documents].

        Each follows from its document and the parameters alone, whatever shares its batch. The text is as the edits
        left it. An error puts documents into quarantine: those for which it is raised again when each is alone.
        """


class TextStatistic(Statistic):
    """A statistic computed text by text."""

    @abstractmethod
    def of(self, text: str) -> float:
        """The number of a text."""

    def measure(self, documents: pa.RecordBatch) -> npt.NDArray[np.float64]:
        """See `Statistic`."""
        return np.array([self.of(text) for text in documents["text"].to_pylist()], np.float64)


class Edit(_Custom):
    """A change to texts, counted in the ledger as the edit `custom.<name>`.

    It comes after `repair` and before `normalise`, so that what is stored has the normal form whatever an edit makes.
    Its methods are called by several threads at once.
    """

    group: ClassVar[str] = "llm_assets.edits"

    @abstractmethod
    def edit(self, documents: pa.RecordBatch) -> pa.LargeStringArray:
        """The texts of a batch of `DOCUMENTS`, edited: large_string (or string) [documents], without nulls.

        Each follows from its document and the parameters alone, whatever shares its batch. An error puts documents
        into quarantine: those for which it is raised again when each is alone.
        """


class TextEdit(Edit):
    """An edit made text by text."""

    @abstractmethod
    def of(self, text: str) -> str:
        """The text, edited."""

    def edit(self, documents: pa.RecordBatch) -> pa.LargeStringArray:
        """See `Edit`."""
        return pa.array([self.of(text) for text in documents["text"].to_pylist()], pa.large_string())


def documents_of(batch: pa.RecordBatch, texts: pa.LargeStringArray) -> pa.RecordBatch:
    """The documents of a batch with other texts, as `DOCUMENTS`."""
    return pa.RecordBatch.from_arrays([batch["id"], texts, batch["metadata"]], schema=DOCUMENTS)


def measured(statistic: Statistic, documents: pa.RecordBatch) -> npt.NDArray[np.float64]:
    """The numbers of a batch of `DOCUMENTS`: float64 [documents]. Raises PluginFailedError."""
    with statistic.called():
        values = np.asarray(statistic.measure(documents))
        if values.shape != (len(documents),) or values.dtype.kind not in "biuf":
            raise TypeError(f"it gave {values.dtype} {list(values.shape)}, not float64 [{len(documents)}]")
        numbers = values.astype(np.float64)
        if not np.isfinite(numbers).all():
            raise ValueError(f"it gave {numbers[~np.isfinite(numbers)][0]}, not a finite number")
    return numbers


def edited(edit: Edit, documents: pa.RecordBatch) -> tuple[pa.LargeStringArray, Count]:
    """The texts of a batch of `DOCUMENTS`, edited; how many changed, and the bytes by which they grew or shrank.

    Raises PluginFailedError.
    """
    before = documents["text"]
    with edit.called():
        after: pa.Array = edit.edit(documents)
        texts = after.cast(pa.large_string())
        texts.validate(full=True)
        if len(texts) != len(documents) or texts.null_count:
            raise ValueError(f"it gave {len(texts)} texts, {texts.null_count} of them null, for {len(documents)}")
    changed = pc.call_function("not_equal", [texts, before]).to_numpy(zero_copy_only=False)
    difference = np.abs(byte_lengths(texts) - byte_lengths(before))
    return texts, Count(int(changed.sum()), int(difference.sum()))
