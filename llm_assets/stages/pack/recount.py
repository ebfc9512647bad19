"""Recounts packed rows from the written shards and provenance, and compares them with the token set.

Guarantees that nothing is taken from the plan by which the rows were made, so that errors of planning and of writing
show. The checks decide which numbers are too high.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from llm_assets.contract.shard_partition import ROWS_PER_READ, read_provenance
from llm_assets.kernels.kernel import kernel
from llm_assets.stages.pack.columns import ORIGIN_SCHEMA
from llm_assets.stages.pack.plan import RowPlan
from llm_assets.stages.pack.rows import DocumentTokens
from llm_assets.stages.pack.statistics import PackStatistics
from llm_assets.store.shards.shard_set import ShardSet

_ORIGIN = ORIGIN_SCHEMA.names


@dataclass(frozen=True)
class Recount:
    """Counts of the written rows.

    `unknown_pieces` name no document of the token set, or no row. `differing_tokens` differ from the token set at the
    place that provenance names. `differing_rows` have other document lengths than provenance says.
    """

    statistics: PackStatistics
    unknown_pieces: int
    differing_tokens: int
    differing_rows: int

    @classmethod
    def of(cls, shards: ShardSet, parts: list[DocumentTokens], origin: pa.Table) -> Self:
        """Recount a set. `parts` are the tokens of all documents, `origin` their `ORIGIN_SCHEMA` columns, in order."""
        written = read_provenance(shards).sort_by([("row", "ascending"), ("start", "ascending")])
        document, row = _documents_of(written, origin), written["row"].to_numpy()
        known = (document >= 0) & (row >= 0) & (row < shards.rows)
        lengths = np.concatenate([np.empty(0, np.int64), *(part.lengths for part in parts)])
        pieces = written.filter(pa.array(known))
        plan = _written_plan(shards, pieces, document[known], len(lengths))
        tokens, rows = _differences(shards, plan, pieces["start"].to_numpy(), parts)
        return cls(PackStatistics.count(plan, lengths), int((~known).sum()), tokens, rows)

    @property
    def lost(self) -> dict[str, int]:
        """The counts that must be zero, by name."""
        return {
            "avoidable_splits": self.statistics.avoidable_splits,
            "discarded_tokens": self.statistics.discarded_tokens,
            "repeated_tokens": self.statistics.repeated_tokens,
            "unknown_pieces": self.unknown_pieces,
            "differing_tokens": self.differing_tokens,
            "differing_rows": self.differing_rows,
        }


def _documents_of(written: pa.Table, origin: pa.Table) -> NDArray[np.int64]:
    """Index of each piece's document in the token set; -1 where it is not there."""
    documents = _frame(origin.select(_ORIGIN)).with_row_index("document")
    found = _frame(written.select(_ORIGIN)).join(
        documents, on=_ORIGIN, how="left", maintain_order="left", validate="m:1"
    )
    return found["document"].cast(pl.Int64).fill_null(-1).to_numpy()


def _frame(table: pa.Table) -> pl.DataFrame:
    place = table.schema.get_field_index("doc_id")
    as_binary = table.set_column(place, "doc_id", table["doc_id"].cast(pa.large_binary()))
    return pl.DataFrame(pl.from_arrow(as_binary))


def _written_plan(shards: ShardSet, written: pa.Table, document: NDArray[np.int64], documents: int) -> RowPlan:
    """The plan that the written rows would be the outcome of."""
    row_offsets = np.searchsorted(written["row"].to_numpy(), np.arange(shards.rows + 1))
    start, length = written["document_start"].to_numpy(), written["length"].to_numpy()
    return RowPlan(shards.sequence_length, documents, row_offsets, document, start, length)


def _differences(
    shards: ShardSet, plan: RowPlan, start: NDArray[np.int32], parts: list[DocumentTokens]
) -> tuple[int, int]:
    """Numbers of differing tokens and of rows with differing lengths. `start`: places of pieces in their rows."""
    first_document = np.cumsum([0, *(part.documents for part in parts)])
    tokens = rows = 0
    for first in range(0, shards.rows, ROWS_PER_READ):
        last = min(first + ROWS_PER_READ, shards.rows)
        here = slice(int(plan.row_offsets[first]), int(plan.row_offsets[last]))
        bounds = plan.row_offsets[first : last + 1] - plan.row_offsets[first]
        document, length = plan.piece_document[here], plan.piece_length[here]
        rows += int(_differing_rows(bounds, length, *shards.document_lengths(first, last)))
        target = np.repeat(np.arange(last - first), np.diff(bounds)) * shards.sequence_length + start[here]
        ids = _read_only(shards.input_ids(first, last).reshape(-1))
        order = np.argsort(document, kind="stable")
        cuts = np.searchsorted(document[order], first_document)
        for number in np.flatnonzero(np.diff(cuts)).tolist():
            part, mine = parts[number], order[cuts[number] : cuts[number + 1]]
            pieces = document[mine] - first_document[number], plan.piece_start[here][mine], length[mine], target[mine]
            tokens += int(_differing_tokens(ids, _read_only(part.tokens), part.offsets, *pieces))
    return tokens, rows


@kernel
def _differing_rows(bounds: Any, length: Any, offsets: Any, lengths: Any) -> Any:
    """Number of rows whose pieces (`bounds`, `length`) differ from the set's (`offsets`, `lengths`)."""
    differing = 0
    for row in range(len(bounds) - 1):
        pieces = bounds[row + 1] - bounds[row]
        same = offsets[row + 1] - offsets[row] == pieces
        place = 0
        while same and place < pieces:
            same = length[bounds[row] + place] == lengths[offsets[row] + place]
            place += 1
        differing += not same
    return differing


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """A read-only view, so that the kernel is compiled for one type only."""
    view = array.view()
    view.flags.writeable = False
    return view


@kernel
def _differing_tokens(ids: Any, tokens: Any, offsets: Any, document: Any, start: Any, length: Any, target: Any) -> Any:
    """Number of tokens at `target` in `ids` that differ from the pieces' documents, or lie outside them."""
    differing = 0
    for piece in range(len(document)):
        first, stop = offsets[document[piece]], offsets[document[piece] + 1]
        for place in range(length[piece]):
            at, origin = target[piece] + place, first + start[piece] + place
            if not (0 <= at < len(ids) and first <= origin < stop and ids[at] == tokens[origin]):
                differing += 1
    return differing
