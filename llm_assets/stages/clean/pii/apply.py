"""PII of a column of texts, found and dealt with as the parameters say.

Guarantees that no span to be masked or to be a reason for dropping is left in the texts it returns, and that nothing
else it returns holds any of them: only counts. Rejecting documents and keeping the ledger are the stage's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from llm_assets.stages.clean.pii.find import find
from llm_assets.stages.clean.pii.mask import mask
from llm_assets.stages.clean.pii.parameters import Action, PiiParameters
from llm_assets.stages.clean.pii.presidio import find_with_presidio
from llm_assets.stages.clean.pii.spans import COUNTS_TYPE, KINDS, Kind, Spans, without_overlaps
from llm_assets.store.ledger import Count


@dataclass(frozen=True)
class PiiResult:
    """The result of applying the actions to the spans found.

    `texts` are masked. `counts` (int64[documents, len(KINDS)]) are the spans of each kind in each document: one of a
    kind whose action is drop condemns it. `edits` are the documents that masking a kind changed and the bytes it
    replaced ("pii.email"), and the number of its spans, as documents of a count of its own ("pii.email.spans").
    """

    texts: pa.LargeStringArray
    counts: npt.NDArray[np.int64]
    edits: Mapping[str, Count]

    def counts_column(self) -> pa.StructArray:
        """`counts` as a column of `COUNTS_TYPE`."""
        columns = [pa.array(self.counts[:, code], pa.int32()) for code in range(len(KINDS))]
        return pa.StructArray.from_arrays(columns, fields=list(COUNTS_TYPE))


def apply(texts: pa.LargeStringArray, parameters: PiiParameters) -> PiiResult:
    """Find every kind that has an action, and mask those to be masked; also those to drop, as rejects are stored too.

    What is to be hidden is found as if nothing else were looked for, and what condemns a document too, wherever it
    lies. Raises as `find` and `find_with_presidio` do.
    """
    hidden = parameters.kinds(Action.MASK, Action.DROP)
    spans = _find(texts, parameters, [hidden, parameters.kinds(Action.FLAG)])
    placeholders = {kind: parameters.placeholder(kind) for kind in hidden}
    masked = mask(texts, spans.of_kinds(hidden), placeholders)
    counts = spans.counts(len(texts))
    edits = _edits(spans, counts, parameters.kinds(Action.MASK))
    condemning = parameters.kinds(Action.DROP)
    if condemning and condemning != hidden:
        codes = [KINDS.index(kind) for kind in condemning]
        counts[:, codes] = _find(texts, parameters, [condemning]).counts(len(texts))[:, codes]
    return PiiResult(masked, counts, edits)


def _find(texts: pa.LargeStringArray, parameters: PiiParameters, ranks: Sequence[Sequence[Kind]]) -> Spans:
    if parameters.presidio is None:
        return find(texts, ranks)
    wanted = {kind for kinds in ranks for kind in kinds}
    elsewhere = parameters.presidio.model_copy(
        update={"kinds": tuple(kind for kind in parameters.presidio.kinds if kind in wanted)}
    )
    own = find(texts, [[kind for kind in kinds if kind not in elsewhere.kinds] for kinds in ranks])
    if not elsewhere.kinds:
        return own
    return Spans.of(without_overlaps([*own.finds(), *find_with_presidio(texts, elsewhere, ranks).finds()], ranks))


def _edits(spans: Spans, counts: npt.NDArray[np.int64], kinds: tuple[Kind, ...]) -> dict[str, Count]:
    covered = spans.bytes_by_kind()
    edits: dict[str, Count] = {}
    for kind in kinds:
        code = KINDS.index(kind)
        if counts[:, code].any():
            edits[f"pii.{kind.value}"] = Count(int((counts[:, code] > 0).sum()), int(covered[code]))
            edits[f"pii.{kind.value}.spans"] = Count(int(counts[:, code].sum()))
    return edits
