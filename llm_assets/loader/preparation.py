"""Batches made from a position on, ahead of the consumer or when it asks.

Guarantees each batch once, with the position that follows it. Several small batches are read and made in one go, since
the calls cost as much as the tokens do; what nobody asked for is forgotten.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass

import torch
from torch.utils.data import get_worker_info

from llm_assets.loader.ahead import Ahead
from llm_assets.loader.batch import HostAssembler
from llm_assets.loader.device import DeviceAssembler
from llm_assets.loader.fields import NEEDS_RUNS, Batch, Dtype, Field, Mark
from llm_assets.loader.order import Order
from llm_assets.loader.ranks import Ranks
from llm_assets.loader.reading import RowReader
from llm_assets.loader.schedule import Deal
from llm_assets.loader.upcoming import upcoming
from llm_assets.loader.validate import BatchValidator
from llm_assets.store.shards.shard_set import ShardSet

_TOKENS_AT_ONCE = 1 << 18
"""Tokens made in one go, where batches are smaller. Measured with 32 rows of 1,024: fewer cost more calls than they
save in caches, more gain little."""


@dataclass(frozen=True)
class Recipe:
    """All that batches follow from, but for the position."""

    shards: ShardSet
    order: Order
    length: int
    deal: Deal
    ranks: Ranks
    fields: tuple[Field, ...]
    dtype: Dtype
    device: torch.device | None
    _: KW_ONLY
    shift_labels: bool
    validate: bool

    def assembler(self) -> HostAssembler | DeviceAssembler:
        """What makes the tensors."""
        if self.device is None:
            return HostAssembler(self.shards, self.length, self.fields, self.dtype, shift_labels=self.shift_labels)
        return DeviceAssembler(
            self.shards, self.length, self.fields, self.dtype, self.device, shift_labels=self.shift_labels
        )

    def reader(self) -> RowReader:
        """What reads the rows."""
        with_runs = self.validate or bool(NEEDS_RUNS & {*self.fields})
        return RowReader(self.shards, self.order, self.length, with_runs=with_runs)


@dataclass(frozen=True)
class _Made:
    """Batches made in one go (not yet where they should be), `rows` rows of this rank each, and what follows each."""

    batches: deque[Batch]
    mark: Mark | None
    rows: int
    positions: deque[int]


class Preparation:
    """The batches of a recipe from a position on. With `ahead` over 0, a thread makes about that many in advance."""

    def __init__(self, recipe: Recipe, position: int, ahead: int) -> None:
        self._assembler = recipe.assembler()
        groups = 1 if ahead < 2 else 2
        one_by_one = get_worker_info() is not None  # tensors sent between processes take their whole memory along
        at_once = 1 if one_by_one else max(1, ahead // groups) if ahead else None
        made = _make(recipe, self._assembler, position, at_once)
        self._groups: Iterator[_Made] = Ahead(made, groups) if ahead else made
        self._now = _Made(deque(), None, 0, deque())

    def next(self) -> tuple[Batch, int, int]:
        """The next batch, its rows, and the position after it. Only to be asked for batches that there are."""
        if not self._now.batches:
            self._now = next(self._groups)
        now = self._now
        return self._assembler.deliver(now.batches.popleft(), now.mark), now.rows, now.positions.popleft()

    def close(self) -> None:
        """Forget what was made ahead."""
        if isinstance(self._groups, Ahead):
            self._groups.close()


def _make(
    recipe: Recipe, assembler: HostAssembler | DeviceAssembler, position: int, at_once: int | None
) -> Iterator[_Made]:
    ranges = upcoming(recipe.shards, recipe.order, recipe.length, recipe.deal, recipe.ranks, position)
    withdraw = recipe.shards.announce(ranges)
    try:
        yield from _announced(recipe, assembler, position, at_once)
    finally:
        withdraw()


def _announced(
    recipe: Recipe, assembler: HostAssembler | DeviceAssembler, position: int, at_once: int | None
) -> Iterator[_Made]:
    deal, reader = recipe.deal, recipe.reader()
    validator = BatchValidator(recipe.shards, reader, recipe.length, shift_labels=recipe.shift_labels)
    most = 1  # the first batch is made alone, since somebody waits for it
    while position < deal.schedule.end:
        cut = deal.cut(position, _TOKENS_AT_ONCE // recipe.length)
        count = min(cut.count, most)
        most = min(2 * most, at_once or cut.count)
        rows = cut.rows // deal.world_size
        starts = [cut.first + number * cut.rows + recipe.ranks.rank * rows for number in range(count)]
        # without other ranks between them, the rows of all batches follow each other
        read = reader.read(starts, rows) if deal.world_size > 1 else reader.read([cut.first], rows * count)
        batches, mark = assembler.assemble(read, starts)
        if recipe.validate:
            for number, batch in enumerate(batches):
                validator.check(assembler.deliver(batch, mark), read, number * rows, rows)
        positions = deque(cut.first + (number + 1) * cut.rows for number in range(count))
        position = positions[-1]
        yield _Made(deque(batches), mark, rows, positions)
