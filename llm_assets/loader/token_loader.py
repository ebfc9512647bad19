"""The loader: a shard set, front to back, as the batches of one rank.

Guarantees that the global batches depend on the set, the schedule and the position alone, whatever the number of
ranks, and that the state is exact: one position, counting what the consumer was given, not what was made ahead.
Order, mixing and shuffling are the business of whoever wrote the set.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import IterableDataset

from llm_assets.loader.batch_schedule import BatchSchedule, MicroBatching, PositionError, Step
from llm_assets.loader.device import checked_device
from llm_assets.loader.epoch_order import EpochOrder
from llm_assets.loader.fields import FIELDS, Batch, Dtype, Field, checked_fields, field_type
from llm_assets.loader.preparation import BatchSpec, Preparation
from llm_assets.loader.ranks import Ranks
from llm_assets.loader.state import LoaderStateError, StreamIdentity, position_in, to_dict
from llm_assets.loader.stats import LoaderStats, StatsCounter
from llm_assets.loader.workers import WorkerFlag, worker_count
from llm_assets.store.shards.shard_set import ShardSet

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

_ENDLESS = 1 << 62
"""Rows of a stream without end."""


class LoaderExhaustedError(RuntimeError):
    """The loader was iterated again after its last batch."""


class TokenLoader(IterableDataset[Batch]):
    """The batches of one rank, each a dict of tensors: see `batch.HostAssembler` for the `fields`.

    **Rows.** A row has `sequence_length` tokens: as many as the rows of the set, or a number that divides it. Where
    such a division falls inside a document, its rest is a document of its own: positions restart, and the token
    after the seam is no target. The rows of `epochs` epochs (None: without end) make one stream; `position` counts
    it. With a `seed`, epochs after the first take the set in another order (see `EpochOrder`).

    **Batches.** `batch_size` is the global batch in rows, or a schedule of (from row, size) (see `BatchSchedule`). A
    step is that many consecutive rows; it may reach from one epoch into the next. Rank r of W gets the r-th slice, in
    micro-batches of `micro_batch_size` rows if that is given (see `MicroBatching`), so all ranks together see the same
    global batches for any W. Rows at the end of the stream that make no whole step are not delivered: `unused_rows`.

    **Ranks.** `rank` and `world_size`, or a `mesh` with the names of its `data_parallel` dimensions. Nothing is read
    from the environment.

    **Where to.** Batches are made on the `device`, or, where it is None, in the memory of this process. A thread makes
    `prefetch` batches ahead; by default none, and 2 for a CUDA device. `dtype`: see `fields.field_type`.

    A loader is one run over the stream: `for batch in loader` goes on from the position to the end, and all iterators
    share the position. It can be used bare, as `DataLoader(loader, batch_size=None)`, or in a `StatefulDataLoader`,
    with at most one worker process. `validate` compares every batch with the set.

    **Source.** A shard set, or the URI of one, of which only the index is read before the first batch, so that starting
    costs the same for any number of rows. A file that is missing or cut short is then an error when its rows are due;
    who wants to know before opens the set, which looks at all of them, and hands it over.

    Raises ValueError for parameters that make no sense together, and what `ShardSet.open` raises. Iterating raises
    ShardSetError where the set is damaged, and LoaderExhaustedError for a loader that was iterated to its end.
    """

    def __init__(
        self,
        source: str | Path | ShardSet,
        *,
        batch_size: int | Sequence[tuple[int, int]],
        rank: int = 0,
        world_size: int = 1,
        mesh: DeviceMesh | None = None,
        data_parallel: str | Sequence[str] = (),
        micro_batch_size: int | None = None,
        sequence_length: int | None = None,
        epochs: int | None = 1,
        seed: int | None = None,
        block: int = 64,
        fields: Sequence[Field] = FIELDS,
        shift_labels: bool = False,
        dtype: Dtype = "int64",
        device: torch.device | str | None = None,
        prefetch: int | None = None,
        validate: bool = False,
    ) -> None:
        super().__init__()
        self.ranks = _ranks(rank, world_size, mesh, data_parallel)
        self.set = source if isinstance(source, ShardSet) else ShardSet.open(source, check_files=False)
        self.sequence_length = self.set.sequence_length if sequence_length is None else sequence_length
        if self.set.sequence_length % _whole("sequence_length", self.sequence_length, 1):
            raise ValueError(
                f"sequence_length {self.sequence_length} does not divide the rows of {self.set.sequence_length} tokens "
                f"of {self.set.uri}"
            )
        self.epochs = None if epochs is None else _whole("epochs", epochs, 1)
        self.epoch_rows = self.set.rows * (self.set.sequence_length // self.sequence_length)
        self.schedule = BatchSchedule(batch_size, _ENDLESS if self.epochs is None else self.epochs * self.epoch_rows)
        self._micro_batching = MicroBatching(self.schedule, self.ranks.world_size, micro_batch_size)
        self._stream = StreamIdentity(self.set.digest, self.set.rows, self.sequence_length, seed, block)
        self.fields = checked_fields(fields)
        for field in self.fields:
            field_type(field, dtype, self.set.dtype, self.set.index.vocabulary_size)
        target = None if device is None else checked_device(device)
        self._spec = BatchSpec(
            self.set,
            EpochOrder(self.set.rows, seed, block),
            self.sequence_length,
            self._micro_batching,
            self.ranks,
            self.fields,
            dtype,
            target,
            shift_labels=shift_labels,
            validate=validate,
        )
        usual = 2 if target and target.type == "cuda" else 0
        self._prefetch = usual if prefetch is None else _whole("prefetch", prefetch, 0)
        self._position = 0
        self._over = False
        self._counter = StatsCounter()
        self._worker = WorkerFlag()

    @property
    def position(self) -> int:
        """Rows of the stream delivered, over all ranks."""
        return self._position

    @property
    def epoch(self) -> int:
        """Whole epochs delivered."""
        return self._position // self.epoch_rows

    @property
    def step(self) -> int:
        """Whole steps delivered: when the last micro-batch of a step is given out, that step counts."""
        return self.schedule.steps_before(self._position)

    @property
    def at_step_end(self) -> bool:
        """Whether the batch given out last was the last micro-batch of its step (also before the first batch)."""
        return self._position >= self.schedule.end or self._step().first == self._position

    @property
    def accumulation(self) -> int:
        """Micro-batches in the step that the batch given out last belongs to (the first step, before that)."""
        step = self.schedule.step_at(max(0, self._position - 1))
        return step.rows // self._micro_batching.rows_at(step)

    @property
    def unused_rows(self) -> int:
        """Rows at the end of the stream that make no whole step; 0 in an endless one."""
        return 0 if self.epochs is None else self.schedule.rows - self.schedule.end

    def __len__(self) -> int:
        """Batches (micro-batches) in the whole stream. Raises TypeError where it has no end."""
        if self.epochs is None:
            raise TypeError("a loader of endless epochs has no length")
        return len(self._micro_batching)

    def __iter__(self) -> Iterator[Batch]:
        self._worker.enter(self._spec.device)
        if self._over:
            raise LoaderExhaustedError(
                f"all {self.schedule.end} rows were delivered, and a loader is one run over them: give it more epochs "
                "(None: without end), or load an earlier state"
            )
        return self._batches()

    def state_dict(self) -> dict[str, Any]:
        """Where the consumer is: JSON-like, the same on every rank.

        Raises WorkerProcessError where a worker process delivers, whose progress this process does not know.
        """
        self._worker.check()
        return to_dict(self._stream, self._position)

    def state_after(self, batch: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """The state once a batch of this loader, which must have `row_ids`, has been trained on by all ranks.

        For consumers that get batches from a worker process. Raises KeyError without `row_ids`.
        """
        if "row_ids" not in batch:
            raise KeyError("a batch without row_ids does not say where it ends: ask the loader for that field")
        first = int(batch["row_ids"][0])
        share = len(batch["row_ids"])
        return to_dict(self._stream, first + (self.ranks.world_size - self.ranks.rank) * share)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state; live iterators do too.

        The world size may be another one, and so may the schedule, the micro-batch and the sequence length, as long
        as a batch starts at the position. Raises DigestMismatchError for a state of other rows, LoaderStateError for
        any other that this loader cannot continue from.
        """
        position = position_in(self._stream, self.set.sequence_length, state_dict)
        if position != self.schedule.end:
            try:
                self._micro_batching.check(position)
            except PositionError as error:
                raise LoaderStateError(str(error)) from error
        self._position = position
        self._over = False
        self._worker.clear()

    def stats(self) -> LoaderStats:
        """What this loader object delivered, and how long its consumer waited."""
        return self._counter.stats()

    def _step(self) -> Step:
        return self.schedule.step_at(self._position)

    def _batches(self) -> Iterator[Batch]:
        clock = time.perf_counter
        preparation: Preparation | None = None
        expected = -1
        length, end = self.sequence_length, self.schedule.end
        try:
            while self._position < end:
                asked = clock()
                if preparation is None or expected != self._position:
                    if preparation is not None:
                        preparation.close()
                    preparation = Preparation(self._spec, self._position, 0 if worker_count() else self._prefetch)
                batch, rows, expected = preparation.next()
                self._position = expected
                self._counter.add(rows, rows * length, asked, clock())
                yield batch
        finally:
            if preparation is not None:
                preparation.close()
        self._over = True


def _whole(name: str, value: int, least: int) -> int:
    """The value of a parameter, as a plain integer. Raises ValueError for one below `least` or no whole number."""
    try:
        number = index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise ValueError(f"{name}={value!r}: give a whole number, {least} or more")
    return number


def _ranks(rank: int, world_size: int, mesh: DeviceMesh | None, data_parallel: str | Sequence[str]) -> Ranks:
    if mesh is None:
        if data_parallel:
            raise ValueError("data-parallel dimensions without a mesh")
        return Ranks(rank, world_size)
    if (rank, world_size) != (0, 1):
        raise ValueError("rank and world size are given twice: by numbers and by a mesh")
    return Ranks.of_mesh(mesh, data_parallel)
