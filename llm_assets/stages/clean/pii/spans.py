"""Kinds of PII, and spans of them in a column of texts.

Guarantees that spans are in order, lie within their documents and never overlap; which of several overlapping
finds remains is decided here, by `without_overlaps`. How they are found is not.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby, pairwise
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from llm_assets.kernels.arrow import column


class Kind(StrEnum):
    """The kind of a span. The order is that of specificity: of two equally long finds, the earlier kind remains."""

    API_KEY = "api_key"
    IBAN = "iban"
    CREDIT_CARD = "credit_card"
    US_SSN = "us_ssn"
    EMAIL = "email"
    IP = "ip"
    PHONE = "phone"
    PERSON = "person"
    LOCATION = "location"


KINDS: Final = tuple(Kind)
"""Kinds by their code: the number that stands for a kind in `Spans.kind` and in columns of counts."""

COUNTS_TYPE: Final = pa.struct([column(kind.value, pa.int32(), f"spans of kind {kind.value}") for kind in KINDS])
"""Spans of each kind in a document, whatever became of them."""

PATTERN_KINDS: Final = tuple(kind for kind in KINDS if kind not in (Kind.PERSON, Kind.LOCATION))
"""The kinds that follow from how they are written; the others need a model of the language."""


class Find(NamedTuple):
    """A possible span: `start` and `stop` are bytes into the document, `kind` is a code."""

    document: int
    start: int
    stop: int
    kind: int


@dataclass(frozen=True)
class Spans:
    """Spans of a column, sorted by document and start; within a document they do not overlap.

    `document` (int64[n]) is a row of the column; `start` and `stop` (int64[n]) are byte offsets into that
    document's UTF-8, always at the ends of characters; `kind` (int8[n]) is a code, an index into `KINDS`.
    """

    document: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    stop: npt.NDArray[np.int64]
    kind: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.document)

    @classmethod
    def of(cls, finds: Iterable[Find]) -> Self:
        """Finds that do not overlap, in any order."""
        table = np.array(sorted(finds), np.int64).reshape(-1, len(Find._fields))
        return cls(table[:, 0], table[:, 1], table[:, 2], table[:, 3].astype(np.int8))

    def finds(self) -> list[Find]:
        """The spans one by one."""
        columns = (self.document, self.start, self.stop, self.kind)
        return [Find(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]

    def select(self, chosen: npt.NDArray[np.bool_]) -> Spans:
        """The spans for which `chosen` (bool[n]) is true."""
        return Spans(self.document[chosen], self.start[chosen], self.stop[chosen], self.kind[chosen])

    def of_kinds(self, kinds: Sequence[Kind]) -> Spans:
        """The spans of these kinds."""
        return self.select(np.isin(self.kind, [KINDS.index(kind) for kind in kinds]))

    def counts(self, documents: int) -> npt.NDArray[np.int64]:
        """How many spans of each kind each document has: int64[documents, len(KINDS)]."""
        cells = np.bincount(self.document * len(KINDS) + self.kind, minlength=documents * len(KINDS))
        return cells.reshape(documents, len(KINDS))

    def bytes_by_kind(self) -> npt.NDArray[np.int64]:
        """Bytes covered by the spans of each kind: int64[len(KINDS)]."""
        covered = np.zeros(len(KINDS), np.int64)
        np.add.at(covered, self.kind, self.stop - self.start)
        return covered


def without_overlaps(finds: Iterable[Find], ranks: Sequence[Sequence[Kind]] = (KINDS,)) -> list[Find]:
    """Finds of which no two overlap, by document and start.

    Those whose kind is in an earlier rank come first; within a rank the longest, of equally long ones the more
    specific kind, then the one further left. A find that overlaps one taken before is left out. So the outcome does
    not depend on the order of `finds`.
    """
    rank_of = {KINDS.index(kind): rank for rank, kinds in enumerate(ranks) for kind in kinds}
    kept: list[Find] = []
    for _, group in groupby(sorted(set(finds)), key=lambda find: find.document):
        rivals = list(group)
        if all(left.stop <= right.start for left, right in pairwise(rivals)):
            kept += rivals
        else:
            rivals.sort(key=lambda find: (rank_of[find.kind], find.start - find.stop, find.kind, find.start))
            kept += _first_come(rivals)
    return kept


def _first_come(rivals: Iterable[Find]) -> list[Find]:
    """Those that overlap none taken before them, by start."""
    taken: list[Find] = []
    starts: list[int] = []
    for find in rivals:
        place = bisect_left(starts, find.start)
        if (place == 0 or taken[place - 1].stop <= find.start) and (place == len(taken) or find.stop <= starts[place]):
            taken.insert(place, find)
            starts.insert(place, find.start)
    return taken
