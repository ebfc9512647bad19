"""The quality of a packing: fill, splits and discarded tokens, recounted from the plan.

Guarantees that the numbers come from the pieces alone, so that lost, repeated or cut tokens show, whatever the packer
assumed. The checks decide which numbers are too high.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from llm_assets.kernels.kernel import kernel
from llm_assets.stages.pack.plan import RowPlan


@dataclass(frozen=True)
class PackStatistics:
    """Counts of one plan.

    Attributes:
        documents: documents of the plan, with the empty ones.
        empty_documents: documents without tokens, which are in no row.
        tokens: tokens of the documents.
        rows: rows made.
        pieces: pieces in the rows.
        fill: tokens in the rows / capacity of the rows; 0 without rows.
        unavoidable_splits: cuts in documents longer than a row, as many as their length requires.
        avoidable_splits: all other cuts.
        discarded_tokens: tokens of the documents that are in no row.
        repeated_tokens: tokens in the rows beyond the first copy of each, or beyond the end of a document.
    """

    documents: int
    empty_documents: int
    tokens: int
    rows: int
    pieces: int
    fill: float
    unavoidable_splits: int
    avoidable_splits: int
    discarded_tokens: int
    repeated_tokens: int

    @classmethod
    def count(cls, plan: RowPlan, lengths: NDArray[np.int64]) -> Self:
        """Recount a plan for documents of the given lengths (int64 [documents], in tokens).

        Raises ValueError where the plan is for another number of documents.
        """
        if plan.documents != lengths.size:
            raise ValueError(f"the plan is for {plan.documents} documents, but there are {lengths.size} lengths")
        order = np.lexsort((plan.piece_start, plan.piece_document))
        covered, unavoidable, avoidable = _recount(
            lengths, plan.sequence_length, order, plan.piece_document, plan.piece_start, plan.piece_length
        )
        tokens = int(lengths.sum())
        placed = int(plan.piece_length.sum(dtype=np.int64))
        return cls(
            documents=lengths.size,
            empty_documents=int(np.count_nonzero(lengths == 0)),
            tokens=tokens,
            rows=plan.rows,
            pieces=plan.pieces,
            fill=placed / (plan.rows * plan.sequence_length) if plan.rows else 0.0,
            unavoidable_splits=int(unavoidable),
            avoidable_splits=int(avoidable),
            discarded_tokens=tokens - int(covered),
            repeated_tokens=placed - int(covered),
        )

    def as_dict(self) -> dict[str, int | float]:
        """The numbers by name."""
        return asdict(self)


@kernel
def _recount(
    lengths: Any, sequence_length: Any, order: Any, piece_document: Any, piece_start: Any, piece_length: Any
) -> Any:
    """Tokens covered at least once, unavoidable and avoidable cuts; `order` sorts by document, then start."""
    covered = 0
    unavoidable = 0
    avoidable = 0
    at = 0
    for document in range(lengths.size):
        reached = 0
        pieces = 0
        while at < order.size and piece_document[order[at]] == document:
            start = piece_start[order[at]]
            end = min(start + piece_length[order[at]], lengths[document])
            covered += max(0, end - max(start, reached))
            reached = max(reached, end)
            pieces += 1
            at += 1
        cuts = max(0, pieces - 1)
        needed = max(0, (lengths[document] - 1) // sequence_length)
        unavoidable += min(cuts, needed)
        avoidable += max(0, cuts - needed)
    return covered, unavoidable, avoidable
