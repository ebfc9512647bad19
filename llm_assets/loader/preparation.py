"""Prepares the batches of a rank from a position on, when they are asked for or in a prefetch thread.

Guarantees each batch once, with the position after it. Several small batches are read and made at once, since the
calls cost as much as the tokens do. Prefetched batches that were not delivered are dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass

import torch
from torch.utils.data import get_worker_info

from llm_assets.loader.batch import HostAssembler
from llm_assets.loader.batch_schedule import MicroBatching
from llm_assets.loader.device import DeviceAssembler
from llm_assets.loader.epoch_order import EpochOrder
from llm_assets.loader.fields import NEEDS_RUNS, Batch, Dtype, Field, Mark
from llm_assets.loader.prefetch import PrefetchIterator
from llm_assets.loader.ranks import Ranks
from llm_assets.loader.reading import RowReader
from llm_assets.loader.upcoming import upcoming
from llm_assets.loader.validate import BatchValidator
from llm_assets.store.shards.shard_set import ShardSet

_TOKENS_AT_ONCE = 1 << 18
"""Tokens made at once where batches are smaller. Measured with 32 rows of 1,024 tokens: fewer cost more calls than they
save in caches, more gain little."""


@dataclass(frozen=True)
class BatchSpec:
    """Everything that determines the batches of a rank, except the position."""

    shards: ShardSet
    order: EpochOrder
    length: int
    micro_batching: MicroBatching
    ranks: Ranks
    fields: tuple[Field, ...]
    dtype: Dtype
    device: torch.device | None
    _: KW_ONLY
    shift_labels: bool
    validate: bool

    def assembler(self) -> HostAssembler | DeviceAssembler:
        """A new assembler for these batches, on the host or on the device."""
        if self.device is None:
            return HostAssembler(self.shards, self.length, self.fields, self.dtype, shift_labels=self.shift_labels)
        return DeviceAssembler(
            self.shards, self.length, self.fields, self.dtype, self.device, shift_labels=self.shift_labels
        )

    def reader(self) -> RowReader:
        """A new reader for these rows."""
        with_runs = self.validate or bool(NEEDS_RUNS & {*self.fields})
        return RowReader(self.shards, self.order, self.length, with_runs=with_runs)


@dataclass(frozen=True)
class _Made:
    """Batches made at once, not yet delivered: `rows` rows of this rank each, and the position after each of them."""

    batches: deque[Batch]
    mark: Mark | None
    rows: int
    positions: deque[int]


class Preparation:
    """The batches of a spec from a position on. With `prefetch` > 0 a thread makes about that many in advance."""

    def __init__(self, spec: BatchSpec, position: int, prefetch: int) -> None:
        self._assembler = spec.assembler()
        groups = 1 if prefetch < 2 else 2
        one_by_one = get_worker_info() is not None  # tensors sent between processes take their whole memory along
        at_once = 1 if one_by_one else max(1, prefetch // groups) if prefetch else None
        made = _make(spec, self._assembler, position, at_once)
        self._groups: Iterator[_Made] = PrefetchIterator(made, groups) if prefetch else made
        self._now = _Made(deque(), None, 0, deque())

    def next(self) -> tuple[Batch, int, int]:
        """The next batch, its number of rows, and the position after it. Must not be called past the last batch."""
        if not self._now.batches:
            self._now = next(self._groups)
        now = self._now
        return self._assembler.deliver(now.batches.popleft(), now.mark), now.rows, now.positions.popleft()

    def close(self) -> None:
        """Stop the prefetch thread and drop its batches."""
        if isinstance(self._groups, PrefetchIterator):
            self._groups.close()


def _make(
    spec: BatchSpec, assembler: HostAssembler | DeviceAssembler, position: int, at_once: int | None
) -> Iterator[_Made]:
    ranges = upcoming(spec.shards, spec.order, spec.length, spec.micro_batching, spec.ranks, position)
    withdraw = spec.shards.announce(ranges)
    try:
        yield from _announced(spec, assembler, position, at_once)
    finally:
        withdraw()


def _announced(
    spec: BatchSpec, assembler: HostAssembler | DeviceAssembler, position: int, at_once: int | None
) -> Iterator[_Made]:
    micro_batching, reader = spec.micro_batching, spec.reader()
    validator = BatchValidator(spec.shards, reader, spec.length, shift_labels=spec.shift_labels)
    most = 1  # the first batch is made alone, since somebody waits for it
    while position < micro_batching.schedule.end:
        group = micro_batching.group_at(position, _TOKENS_AT_ONCE // spec.length)
        count = min(group.count, most)
        most = min(2 * most, at_once or group.count)
        rows = group.rows // micro_batching.world_size
        starts = [group.first + number * group.rows + spec.ranks.rank * rows for number in range(count)]
        # without other ranks between them, the rows of all batches follow each other
        read = reader.read(starts, rows) if micro_batching.world_size > 1 else reader.read([group.first], rows * count)
        batches, mark = assembler.assemble(read, starts)
        if spec.validate:
            for number, batch in enumerate(batches):
                validator.check(assembler.deliver(batch, mark), read, number * rows, rows)
        positions = deque(group.first + (number + 1) * group.rows for number in range(count))
        position = positions[-1]
        yield _Made(deque(batches), mark, rows, positions)
