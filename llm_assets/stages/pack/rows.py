"""Gathers the tokens of planned rows from the parts of a token set.

Guarantees that only the tokens of the asked rows are read, so that parts may be memory-mapped, and that a plan for
other documents is an error, never a wrong row. `plan` decides the content of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_assets.kernels.kernel import kernel
from llm_assets.stages.pack.plan import RowPlan

Tokens = NDArray[np.uint16] | NDArray[np.uint32] | NDArray[np.int32]
TOKEN_DTYPES = (np.dtype(np.uint16), np.dtype(np.uint32), np.dtype(np.int32))


@dataclass(frozen=True, eq=False)
class DocumentTokens:
    """The tokens of consecutive documents, such as those of one file.

    Attributes:
        tokens: uint16, uint32 or int32 [tokens], contiguous; may be read-only and memory-mapped.
        offsets: int64 [documents + 1]; document d is `tokens[offsets[d]:offsets[d + 1]]`.

    Raises ValueError where offsets or types are invalid.
    """

    tokens: Tokens
    offsets: NDArray[np.int64]

    def __post_init__(self) -> None:
        tokens, offsets = self.tokens, self.offsets
        if tokens.dtype not in TOKEN_DTYPES or tokens.ndim != 1 or not tokens.flags.c_contiguous:
            raise ValueError(
                f"tokens are {tokens.dtype} {list(tokens.shape)}: give contiguous uint16, uint32 or int32 [tokens]"
            )
        if offsets.dtype != np.int64 or offsets.ndim != 1 or offsets.size == 0:
            raise ValueError(f"offsets are {offsets.dtype} {list(offsets.shape)}: give int64 [documents + 1]")
        if offsets[0] < 0 or offsets[-1] > tokens.size or bool(np.any(offsets[1:] < offsets[:-1])):
            raise ValueError(f"offsets must not decrease, and must be within 0 to {tokens.size}")

    @property
    def documents(self) -> int:
        """Number of documents."""
        return self.offsets.size - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each document, int64 [documents]."""
        return np.diff(self.offsets)


def document_lengths(plan: RowPlan, first_row: int, last_row: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Lengths of the pieces in rows `first_row` to `last_row` (exclusive), as an Arrow list.

    Returns offsets, int32 [rows + 1], and lengths, int32 [pieces], of these rows.

    Raises:
        IndexError: rows that are not in the plan.
        ValueError: more than 2**31 - 1 pieces in these rows.
    """
    _check_rows(plan, first_row, last_row)
    begin, end = plan.row_offsets[first_row], plan.row_offsets[last_row]
    if end - begin > np.iinfo(np.int32).max:
        raise ValueError(f"rows {first_row} to {last_row} hold {end - begin} pieces; ask for fewer rows at a time")
    offsets = (plan.row_offsets[first_row : last_row + 1] - begin).astype(np.int32)
    return offsets, plan.piece_length[begin:end]


def gather_rows(
    plan: RowPlan, parts: Sequence[DocumentTokens], first_row: int, last_row: int, pad_id: int
) -> NDArray[Any]:
    """Tokens of the rows `first_row` to `last_row` (exclusive): [rows, sequence_length], in the parts' dtype.

    The documents of the plan are those of `parts`, numbered consecutively. Each part is read front to back. Rows are
    padded at the end with `pad_id`. Copying releases the GIL.

    Raises:
        IndexError: rows that are not in the plan.
        ValueError: parts with other documents than the plan (in number or length), parts of different dtypes, or a
            `pad_id` that does not fit the dtype.
    """
    _check_rows(plan, first_row, last_row)
    dtype = _common_dtype(plan, parts, pad_id)
    pieces = _Pieces.of(plan, first_row, last_row)
    out = np.empty((last_row - first_row, plan.sequence_length), dtype)
    _pad(out, pieces.used, dtype.type(pad_id))
    first_document = np.cumsum([0, *(part.documents for part in parts)])
    cuts = np.searchsorted(pieces.document, first_document)
    if cuts[0] > 0 or cuts[-1] < pieces.document.size:
        raise ValueError(f"the plan has pieces of documents other than 0 to {plan.documents}")
    for index in np.flatnonzero(np.diff(cuts)).tolist():
        chosen = slice(cuts[index], cuts[index + 1])
        source = _sources(parts[index], pieces.document[chosen] - first_document[index], pieces, chosen)
        tokens = _read_only(parts[index].tokens)
        _copy(tokens, source, pieces.length[chosen], pieces.target[chosen], out.reshape(-1))
    return out


@dataclass(frozen=True, eq=False)
class _Pieces:
    """Pieces of a range of rows in document order, with the place of each in these rows."""

    document: NDArray[np.int64]
    start: NDArray[np.int64]
    length: NDArray[np.int64]
    target: NDArray[np.int64]
    used: NDArray[np.int64]

    @classmethod
    def of(cls, plan: RowPlan, first_row: int, last_row: int) -> _Pieces:
        begin, end = plan.row_offsets[first_row], plan.row_offsets[last_row]
        offsets = plan.row_offsets[first_row : last_row + 1] - begin
        length = plan.piece_length[begin:end].astype(np.int64)
        ends = np.concatenate(([0], np.cumsum(length)))
        used = np.diff(ends[offsets])
        if used.size and used.max() > plan.sequence_length:
            row = first_row + int(used.argmax())
            raise ValueError(f"row {row} of the plan has {used.max()} tokens for {plan.sequence_length}")
        row = np.repeat(np.arange(last_row - first_row), np.diff(offsets))
        target = row * plan.sequence_length + ends[:-1] - ends[offsets[row]]
        order = np.argsort(plan.piece_document[begin:end], kind="stable")
        return cls(
            plan.piece_document[begin:end][order],
            plan.piece_start[begin:end][order],
            length[order],
            target[order],
            used,
        )


def _sources(part: DocumentTokens, document: NDArray[np.int64], pieces: _Pieces, chosen: slice) -> NDArray[np.int64]:
    """Offset of each chosen piece in the tokens of its part; `document` counts from the part's first one."""
    start, length = pieces.start[chosen], pieces.length[chosen]
    begin, end = part.offsets[document], part.offsets[document + 1]
    if bool(np.any((start < 0) | (length < 1) | (begin + start + length > end))):
        raise ValueError("a piece of the plan is not inside its document: the plan is for other documents")
    return begin + start


def _common_dtype(plan: RowPlan, parts: Sequence[DocumentTokens], pad_id: int) -> np.dtype[Any]:
    documents = sum(part.documents for part in parts)
    if documents != plan.documents:
        raise ValueError(f"the plan is for {plan.documents} documents, but the parts have {documents}")
    dtypes = {part.tokens.dtype for part in parts}
    if len(dtypes) != 1:
        raise ValueError(f"the parts have token dtypes {sorted(map(str, dtypes))}: give parts of one dtype")
    dtype = dtypes.pop()
    if not np.iinfo(dtype).min <= pad_id <= np.iinfo(dtype).max:
        raise ValueError(f"pad_id {pad_id} does not fit in {dtype}")
    return dtype


def _check_rows(plan: RowPlan, first_row: int, last_row: int) -> None:
    if not 0 <= first_row <= last_row <= plan.rows:
        raise IndexError(f"rows {first_row} to {last_row} of a plan of {plan.rows} rows")


def _read_only(tokens: Tokens) -> Tokens:
    """A read-only view, so that mapped and ordinary arrays share one compiled kernel."""
    view = tokens.view()
    view.flags.writeable = False
    return view


@kernel
def _pad(out: Any, used: Any, pad: Any) -> None:
    for row in range(out.shape[0]):
        out[row, used[row] :] = pad


@kernel
def _copy(tokens: Any, source: Any, length: Any, target: Any, out: Any) -> None:
    for piece in range(source.size):
        # Loops over views: with computed indices numba would check each for being negative, at a seventh of
        # the speed.
        from_view = tokens[source[piece] : source[piece] + length[piece]]
        to_view = out[target[piece] : target[piece] + length[piece]]
        for token in range(to_view.size):
            to_view[token] = from_view[token]
