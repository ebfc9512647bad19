"""Makes batches of tensors in host memory from the rows read.

Guarantees that no token is a target across a document boundary: positions restart in each document, and labels are
masked at its first token. A field that was not asked for costs nothing. `batch_schedule` decides which rows make a
batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from llm_assets.loader.blocks import BlockPool
from llm_assets.loader.fields import IGNORED, PER_TOKEN, Batch, Dtype, Field, Mark, field_type
from llm_assets.loader.reading import RowsRead
from llm_assets.loader.runs import Runs
from llm_assets.store.shards.shard_set import ShardSet


class HostAssembler:
    """Makes batches of the fields asked for; each [b, L] unless said otherwise.

    - `input_ids`: the ids of the tokens.
    - `labels`: the ids at the same places, which a model shifts itself (as those of Hugging Face do), `IGNORED` on
      padding and on the first token of each document; or, with `shift_labels`, the same moved one place to the left,
      so that the label of a token is the token after it, and that of the last token of a row is `IGNORED`.
    - `position_ids`: places in the document, from 0; also in the padding of a row.
    - `document_ids`: numbers of the documents in the row, from 0; padding has -1.
    - `cu_seqlens`: int32 [n + 1], where documents (and paddings) begin in the rows laid end to end, and their end.
    - `max_seqlen`: int32 [], the longest of them. Always in the memory of the processor.
    - `row_ids`: int64 [b], the numbers of the rows in the stream.
    """

    def __init__(
        self, shards: ShardSet, length: int, fields: Sequence[Field], dtype: Dtype, *, shift_labels: bool
    ) -> None:
        self._length = length
        self._fields = tuple(fields)
        self._shift = shift_labels
        self._pools = {
            field: BlockPool(field_type(field, dtype, shards.dtype, shards.index.vocabulary_size))
            for field in fields
            if field in PER_TOKEN
        }

    def assemble(self, rows: RowsRead, starts: Sequence[int]) -> tuple[list[Batch], Mark | None]:
        """Divide rows into batches of equal size; `starts` are the first rows of each in the stream.

        The second result is None: the batches are complete (see `DeviceAssembler.assemble`).
        """
        columns = [self._column(field, rows, starts) for field in self._fields]
        return [dict(zip(self._fields, values, strict=True)) for values in zip(*columns, strict=True)], None

    def deliver(self, batch: Batch, mark: Mark | None) -> Batch:
        """The batch, unchanged: it is in host memory already."""
        return batch

    def _column(self, field: Field, rows: RowsRead, starts: Sequence[int]) -> Sequence[torch.Tensor]:
        """One field, for each of the batches."""
        count = len(starts)
        if field == "row_ids":
            return row_ids(starts, rows.rows // count)
        if field in PER_TOKEN:
            block = self._pools[field].take(rows.rows * self._length)
            self._fill(field, rows, block)
            return torch.from_numpy(block.reshape(count, -1, self._length)).unbind(0)
        runs = _known(rows.runs)
        parts = [boundaries(runs, rows.rows // count * batch, rows.rows // count) for batch in range(count)]
        if field == "cu_seqlens":
            return [torch.from_numpy(part) for part in parts]
        return [torch.tensor(np.diff(part).max(), dtype=torch.int32) for part in parts]

    def _fill(self, field: Field, rows: RowsRead, block: NDArray[Any]) -> None:
        if field == "input_ids":
            _copy_ids(rows, block)
        elif field == "labels":
            _fill_labels(rows, block, shift=self._shift)
        else:
            # numba takes half a second to import, which who trains without these fields should not pay
            from llm_assets.loader.kernels import fill_numbers, fill_positions

            runs = _known(rows.runs)
            if field == "position_ids":
                fill_positions(runs.starts, block)
            else:
                fill_numbers(runs.starts, runs.numbers, block)


def boundaries(runs: Runs, first: int, rows: int) -> NDArray[np.int32]:
    """Boundaries of the runs in rows `first` to `first + rows`, in tokens from there, with the end: int32 [n + 1]."""
    start, stop = first * runs.length, (first + rows) * runs.length
    begin, end = np.searchsorted(runs.starts, (start, stop)).tolist()
    result = np.empty(end - begin + 1, np.int32)
    np.subtract(runs.starts[begin:end], start, out=result[:-1], casting="unsafe")
    result[-1] = stop - start
    return result


def row_ids(starts: Sequence[int], rows: int) -> Sequence[torch.Tensor]:
    """Row numbers in the stream for each batch of `rows` rows: int64 [rows] each."""
    return (torch.tensor(starts, dtype=torch.int64)[:, None] + torch.arange(rows)).unbind(0)


def _copy_ids(rows: RowsRead, block: NDArray[Any], ahead: int = 0) -> None:
    """Copy the ids into a flat block of a wider type, shifted left by `ahead`; the last `ahead` places stay."""
    place = -ahead
    for piece in rows.pieces:
        flat = piece.reshape(-1)
        skip = max(0, -place)
        np.copyto(block[place + skip : place + flat.size], flat[skip:], casting="unsafe")
        place += flat.size


def _fill_labels(rows: RowsRead, block: NDArray[Any], *, shift: bool) -> None:
    ahead = 1 if shift else 0
    runs = _known(rows.runs)
    _copy_ids(rows, block, ahead)
    if shift:
        block[-1] = IGNORED
    # with shifted labels the first run is left out: no token comes before its first one
    block[runs.starts[ahead:] - ahead] = IGNORED
    if runs.is_padding.any():
        starts, ends = runs.starts[runs.is_padding] - ahead, runs.ends()[runs.is_padding] - ahead
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            block[max(0, start) : end] = IGNORED


def _known(runs: Runs | None) -> Runs:
    if runs is None:
        raise RuntimeError("rows were read without their documents, for a field that needs them")
    return runs
