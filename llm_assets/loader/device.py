"""Makes batches in the memory of a device from the rows read: ids are copied as stored and widened on the device.

Guarantees the same batches as `batch.HostAssembler`. Token ids and document boundaries are copied through page-locked
memory. Copies and kernels run on a CUDA stream of their own, and the consumer's stream waits for them when a batch is
delivered. On the CPU the same code runs without streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from llm_assets.loader.batch import boundaries
from llm_assets.loader.fields import IGNORED, PER_TOKEN, Batch, Dtype, Field, Mark, field_type
from llm_assets.loader.reading import RowsRead
from llm_assets.loader.runs import PADDING
from llm_assets.store.shards.shard_set import ShardSet

_SLOTS = 4
"""Page-locked buffers used in turn: a buffer is refilled only when its copy to the device is done."""


class DeviceStreams(Protocol):
    """Orders work on a device: side work beside the consumer's, and marks to wait for."""

    pinned: bool

    def aside(self) -> AbstractContextManager[Any]:
        """Context in which issued work runs beside the consumer's."""
        ...

    def mark(self) -> Mark | None:
        """A mark after all side work issued so far; None where it is done already."""
        ...

    def await_mark(self, mark: Mark | None, tensors: Sequence[torch.Tensor]) -> None:
        """Make the consumer's further work on these tensors wait for the mark."""
        ...


class CudaStreams:
    """A stream beside the consumer's current one on a CUDA device."""

    pinned = True

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def aside(self) -> AbstractContextManager[Any]:
        """See `DeviceStreams.aside`."""
        return torch.cuda.stream(self._stream)

    def mark(self) -> Mark:
        """See `DeviceStreams.mark`."""
        event = torch.cuda.Event()
        event.record(self._stream)
        return event

    def await_mark(self, mark: Any, tensors: Sequence[torch.Tensor]) -> None:
        """See `DeviceStreams.await_mark`."""
        current = torch.cuda.current_stream(self._device)
        current.wait_event(mark)
        for tensor in tensors:
            if tensor.is_cuda:
                # the allocator must not give the memory to our stream again while theirs still reads it
                tensor.record_stream(current)


class NoStreams:
    """The CPU: work is done when it is issued."""

    pinned = False

    def aside(self) -> AbstractContextManager[Any]:
        """See `DeviceStreams.aside`."""
        return nullcontext()

    def mark(self) -> None:
        """See `DeviceStreams.mark`."""

    def await_mark(self, mark: Mark | None, tensors: Sequence[torch.Tensor]) -> None:
        """See `DeviceStreams.await_mark`."""


def checked_device(device: torch.device | str) -> torch.device:
    """The device as torch names it. Raises ValueError for types other than cpu and cuda. It need not exist yet."""
    checked = torch.device(device)
    if checked.type not in {"cpu", "cuda"}:
        raise ValueError(f"device {checked}: give cpu or cuda, or leave it out and move the batches yourself")
    return checked


@dataclass
class _Slot:
    """A host buffer on its way to the device, and the mark after its last copy."""

    ids: torch.Tensor
    integers: torch.Tensor
    copied: Mark | None = None


@dataclass
class _TransferLayout:
    """Layout of the integers of a transfer: starts of the runs, their numbers, then the boundaries of each batch."""

    runs: int = 0
    boundaries: list[NDArray[np.int32]] = field(default_factory=list[NDArray[np.int32]])


class DeviceAssembler:
    """Makes the batches of `batch.HostAssembler` on a device: see `checked_device`."""

    def __init__(
        self,
        shards: ShardSet,
        length: int,
        fields: Sequence[Field],
        dtype: Dtype,
        device: torch.device,
        *,
        shift_labels: bool,
    ) -> None:
        self._length = length
        self._fields = tuple(fields)
        self._device = device
        self._shift = shift_labels
        self._streams: DeviceStreams = CudaStreams(device) if device.type == "cuda" else NoStreams()
        self._stored = _torch_type(shards.dtype)
        self._types = {
            name: _torch_type(field_type(name, dtype, shards.dtype, shards.index.vocabulary_size))
            for name in fields
            if name in PER_TOKEN
        }
        self._slots: list[_Slot] = [
            _Slot(self._host(0, self._stored), self._host(0, torch.int32)) for _ in range(_SLOTS)
        ]
        self._turn = 0

    def assemble(self, rows: RowsRead, starts: Sequence[int]) -> tuple[list[Batch], Mark | None]:
        """Divide rows into batches of equal size; `starts` are the first rows of each in the stream.

        The second result is the mark after which the batches are complete.
        """
        count = len(starts)
        layout = self._layout(rows, count)
        slot = self._fill(rows, layout)
        with self._streams.aside():
            ids, integers = self._copied(slot.ids[: rows.rows * self._length]), self._copied(slot.integers)
            slot.copied = self._streams.mark()
            dense = self._widened(ids, integers[: layout.runs], integers[layout.runs : 2 * layout.runs])
            columns = [self._column(name, dense, integers, layout, starts, rows.rows // count) for name in self._fields]
            mark = self._streams.mark()
        return [dict(zip(self._fields, values, strict=True)) for values in zip(*columns, strict=True)], mark

    def deliver(self, batch: Batch, mark: Mark | None) -> Batch:
        """The batch, safe to use on the caller's current stream."""
        self._streams.await_mark(mark, [*batch.values()])
        return batch

    def _layout(self, rows: RowsRead, count: int) -> _TransferLayout:
        if rows.runs is None:
            return _TransferLayout()
        layout = _TransferLayout(len(rows.runs.starts))
        if {"cu_seqlens", "max_seqlen"} & {*self._fields}:
            each = rows.rows // count
            layout.boundaries = [boundaries(rows.runs, batch * each, each) for batch in range(count)]
        return layout

    def _fill(self, rows: RowsRead, layout: _TransferLayout) -> _Slot:
        """Copy rows into the next host buffer, once its last copy to the device is done."""
        slot = self._slots[self._turn]
        self._turn = (self._turn + 1) % _SLOTS
        if slot.copied is not None:
            slot.copied.synchronize()
        tokens = rows.rows * self._length
        if slot.ids.numel() < tokens:
            slot.ids = self._host(tokens, self._stored)
        integers: list[NDArray[Any]] = []
        if rows.runs is not None:
            integers = [rows.runs.starts, rows.runs.numbers, *layout.boundaries]
        slot.integers = self._host(sum(map(len, integers)), torch.int32)
        if integers:
            np.concatenate(integers, out=slot.integers.numpy(), casting="unsafe")
        place, flat = 0, slot.ids.numpy()
        for piece in rows.pieces:
            flat[place : place + piece.size] = piece.reshape(-1)
            place += piece.size
        return slot

    def _host(self, size: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(size, dtype=dtype, pin_memory=self._streams.pinned)

    def _copied(self, host: torch.Tensor) -> torch.Tensor:
        """A copy on the device; a copy on the CPU too, since the host buffer is refilled."""
        return torch.empty(host.shape, dtype=host.dtype, device=self._device).copy_(host, non_blocking=True)

    def _widened(self, ids: torch.Tensor, starts: torch.Tensor, numbers: torch.Tensor) -> dict[Field, torch.Tensor]:
        """The fields with a value per token, flat [tokens], in their types."""
        wanted = self._types
        dense: dict[Field, torch.Tensor] = {}
        if "input_ids" in wanted:
            dense["input_ids"] = ids.to(wanted["input_ids"])
        if len(wanted) == len(dense):
            return dense
        firsts = starts.to(torch.int64)
        run = torch.zeros(ids.numel(), dtype=torch.int32, device=self._device)
        run = run.index_fill_(0, firsts, 1).cumsum(0) - 1
        document = numbers[run]
        if "labels" in wanted:
            masked = (document == PADDING).index_fill_(0, firsts, True)
            labels = ids.to(wanted["labels"]).masked_fill_(masked, IGNORED)
            dense["labels"] = _moved(labels) if self._shift else labels
        if "position_ids" in wanted:
            kind = wanted["position_ids"]
            dense["position_ids"] = torch.arange(ids.numel(), dtype=kind, device=self._device) - starts[run].to(kind)
        if "document_ids" in wanted:
            dense["document_ids"] = document.to(wanted["document_ids"])
        return dense

    def _column(
        self,
        name: Field,
        dense: dict[Field, torch.Tensor],
        integers: torch.Tensor,
        layout: _TransferLayout,
        starts: Sequence[int],
        rows: int,
    ) -> Sequence[torch.Tensor]:
        """One field, for each of the batches."""
        if name in dense:
            return dense[name].view(len(starts), rows, self._length).unbind(0)
        if name == "row_ids":
            return [torch.arange(start, start + rows, device=self._device) for start in starts]
        if name == "cu_seqlens":
            return integers[2 * layout.runs :].split([len(part) for part in layout.boundaries])
        return [torch.tensor(np.diff(part).max(), dtype=torch.int32) for part in layout.boundaries]


def _moved(labels: torch.Tensor) -> torch.Tensor:
    """Labels shifted left by one. The first token of a row is no target, so no label moves into another row."""
    moved = torch.full_like(labels, IGNORED)
    moved[:-1] = labels[1:]
    return moved


def _torch_type(dtype: np.dtype[Any]) -> torch.dtype:
    return torch.from_numpy(np.empty(0, dtype)).dtype
