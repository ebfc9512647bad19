"""The loader: reads a shard set front to back and delivers the batches of one rank.

Guarantees that the global batches depend only on the set, the schedule and the position, not on the number of ranks,
and that the state is exact: one position that counts delivered rows, not prefetched ones. Mixing and shuffling belong
to the stage that wrote the set.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import IterableDataset

from llm_assets.errors import LlmAssetsError
from llm_assets.loader.batch_schedule import BatchSchedule, MicroBatching, PositionError, Step
from llm_assets.loader.device import checked_device
from llm_assets.loader.epoch_order import EpochOrder
from llm_assets.loader.fields import FIELDS, Batch, Dtype, Field, checked_fields, field_type
from llm_assets.loader.preparation import BatchSpec, Preparation
from llm_assets.loader.ranks import Ranks
from llm_assets.loader.state import LoaderStateError, StreamIdentity, check_transforms, position_in, to_dict
from llm_assets.loader.stats import LoaderStats, StatsCounter
from llm_assets.loader.transforms import Transform, identity, transformed
from llm_assets.loader.workers import WorkerFlag, worker_count
from llm_assets.store.shards.shard_set import ShardSet

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

_ENDLESS = 1 << 62
"""Length in rows of an endless stream."""


class LoaderExhaustedError(LlmAssetsError, RuntimeError):
    """The loader was iterated again after its last batch was delivered."""


class TokenLoader(IterableDataset[Batch]):
    """The batches of one rank, each a dict of tensors: see `batch.HostAssembler` for the `fields`.

    **Rows.** A row has `sequence_length` tokens: the length of the set's rows or a divisor of it. Where such a row ends
    inside a document, the rest counts as a document of its own: positions restart, and its first token is no target.
    The rows of `epochs` epochs (None: endless) form one stream, and `position` is a row of it. With a `seed`, epochs
    after the first are shuffled (see `EpochOrder`).

    **Batches.** `batch_size` is the global batch in rows, or a schedule of (from row, size) (see `BatchSchedule`). A
    step is that many consecutive rows; it may reach from one epoch into the next. Rank r of W gets the r-th slice, in
    micro-batches of `micro_batch_size` rows if that is given (see `MicroBatching`), so all ranks together see the same
    global batches for any W. Rows at the end of the stream that make no whole step are not delivered: `unused_rows`.

    **Ranks.** `rank` and `world_size`, or a `mesh` with the names of its `data_parallel` dimensions. Nothing is read
    from the environment.

    **Where to.** Batches are made on the `device`, or, where it is None, in the memory of this process. A thread makes
    `prefetch` batches ahead; by default none, and 2 for a CUDA device. `dtype`: see `fields.field_type`.

    A loader is one run over the stream: `for batch in loader` continues from the position to the end, and all iterators
    share the position. Use it directly, as `DataLoader(loader, batch_size=None)`, or in a `StatefulDataLoader`, with
    at most one worker process. `validate` compares every batch with the set, before the `transforms` change it.
    Transforms are called in the thread of the consumer; a state is of the transforms that it was saved with.

    **Source.** A shard set, or its URI. Of a URI only the index is read before the first batch, so that starting costs
    the same for any number of rows; a missing or truncated file is an error when its rows are read. To check all files
    first, pass `ShardSet.open(uri)`.

    Raises ValueError for parameters that contradict each other, and what `ShardSet.open` raises. Iterating raises
    ShardSetError where the set is damaged, and LoaderExhaustedError after the last batch.
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
        transforms: Sequence[Transform] = (),
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
        self._transforms = tuple(transforms)
        self._identities = [identity(transform) for transform in transforms]
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
        """Whole steps delivered; a step counts with its last micro-batch."""
        return self.schedule.steps_before(self._position)

    @property
    def at_step_end(self) -> bool:
        """True where the last delivered batch ends its step, and before the first batch."""
        return self._position >= self.schedule.end or self._step().first == self._position

    @property
    def accumulation(self) -> int:
        """Micro-batches in the step of the last delivered batch; before that, in the first step."""
        step = self.schedule.step_at(max(0, self._position - 1))
        return step.rows // self._micro_batching.rows_at(step)

    @property
    def unused_rows(self) -> int:
        """Rows at the end of the stream that do not fill a step and are not delivered; 0 in an endless stream."""
        return 0 if self.epochs is None else self.schedule.rows - self.schedule.end

    def __len__(self) -> int:
        """Batches (micro-batches) in the whole stream. Raises TypeError where it has no end."""
        if self.epochs is None:
            raise TypeError("a loader with epochs=None is endless and has no length")
        return len(self._micro_batching)

    def __iter__(self) -> Iterator[Batch]:
        self._worker.enter(self._spec.device)
        if self._over:
            raise LoaderExhaustedError(
                f"all {self.schedule.end} rows were delivered, and a loader is one run over them: set more epochs "
                "(None: endless), or load an earlier state"
            )
        return self._batches()

    def state_dict(self) -> dict[str, Any]:
        """The state after the last delivered batch: JSON-like, the same on every rank.

        Raises WorkerProcessError where a worker process delivers, since its position is not known in this process.
        """
        self._worker.check()
        return to_dict(self._stream, self._position, self._identities)

    def state_after(self, batch: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """The state after all ranks have trained on this batch, which must have the field `row_ids`.

        For batches that come from a worker process. Raises KeyError without `row_ids`.
        """
        if "row_ids" not in batch:
            raise KeyError("the batch has no row_ids, which tell its position: ask the loader for that field")
        first = int(batch["row_ids"][0])
        share = len(batch["row_ids"])
        position = first + (self.ranks.world_size - self.ranks.rank) * share
        return to_dict(self._stream, position, self._identities)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a saved state; live iterators do so too.

        World size, schedule, micro-batch and sequence length may differ from the saved run, if a batch starts at the
        position. Raises DigestMismatchError for a state of another set, LoaderStateError for any other that this loader
        cannot continue from.
        """
        position = position_in(self._stream, self.set.sequence_length, state_dict)
        check_transforms(self._identities, state_dict)
        if position != self.schedule.end:
            try:
                self._micro_batching.check(position)
            except PositionError as error:
                raise LoaderStateError(str(error)) from error
        self._position = position
        self._over = False
        self._worker.clear()

    def stats(self) -> LoaderStats:
        """Counts of what this object delivered, and of how long its consumer waited."""
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
                batch = transformed(batch, self._transforms, f"at row {self._position} of the stream")
                self._position = expected
                self._counter.add(rows, rows * length, asked, clock())
                yield batch
        finally:
            if preparation is not None:
                preparation.close()
        self._over = True


def _whole(name: str, value: int, least: int) -> int:
    """The value of a parameter as an int. Raises ValueError for a non-integer, or one below `least`."""
    try:
        number = index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise ValueError(f"{name}={value!r}: give an integer of {least} or more")
    return number


def _ranks(rank: int, world_size: int, mesh: DeviceMesh | None, data_parallel: str | Sequence[str]) -> Ranks:
    if mesh is None:
        if data_parallel:
            raise ValueError("data_parallel names dimensions of a mesh: pass the mesh too")
        return Ranks(rank, world_size)
    if (rank, world_size) != (0, 1):
        raise ValueError("rank and world_size are given twice: leave them out, or the mesh")
    return Ranks.of_mesh(mesh, data_parallel)
