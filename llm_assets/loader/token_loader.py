"""The loader: a shard set, front to back, as the batches of one rank.

Guarantees that the global batches depend on the set, the batch size and the position alone, whatever the number
of ranks, and that the state is exact: one position, counting what the consumer was given. Order, mixing and
shuffling are the business of whoever wrote the set; moving batches to a device that of the trainer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from llm_assets.loader.batch import FIELDS, expand
from llm_assets.loader.blocks import BlockPool
from llm_assets.store.shards import ShardCorruptError, ShardSet

Batch = dict[str, torch.Tensor]

STATE_VERSION = 1


class LoaderStateError(ValueError):
    """A saved state that this loader cannot continue from."""


class DigestMismatchError(LoaderStateError):
    """A saved state of a loader of other rows."""


class WorkerProcessError(RuntimeError):
    """The loader was iterated in a worker process of a DataLoader."""


class TokenLoader(IterableDataset[Batch]):
    """The batches of rank `rank` of `world_size`, each a dict of int64 tensors [batch_size / world_size, L].

    `input_ids`, `labels`, `position_ids`, `document_ids`: see `batch.expand`. A global batch is `batch_size`
    consecutive rows, of which rank r has the r-th slice, so all ranks together see the same batches for any
    `world_size`. Rows at the end that make no whole global batch are not delivered: `unused_rows` counts them.

    `for batch in loader` goes on from the position, to the end of the epoch; the next such loop is the next epoch,
    from row 0. All iterators of a loader share its position. It can be used bare or as
    `DataLoader(loader, batch_size=None)`; not with worker processes, whose progress it could not know (and it is
    faster without).

    Raises ValueError for a batch size that the ranks cannot share or the set cannot fill, or a rank out of range;
    and what `ShardSet.open` raises.
    """

    def __init__(self, source: str | Path | ShardSet, *, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        super().__init__()
        if world_size < 1 or not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} of a world of {world_size}")
        if batch_size < 1 or batch_size % world_size:
            raise ValueError(f"a global batch of {batch_size} rows cannot be shared by {world_size} ranks")
        shards = source if isinstance(source, ShardSet) else ShardSet.open(source)
        if batch_size > shards.rows:
            raise ValueError(f"a global batch of {batch_size} rows: {shards.uri} has only {shards.rows}")
        self.set = shards
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self._epoch = 0
        self._position = 0
        self._blocks = BlockPool((len(FIELDS), batch_size // world_size, shards.sequence_length))

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return self._epoch

    @property
    def position(self) -> int:
        """Rows of this epoch delivered, over all ranks."""
        return self._position

    @property
    def unused_rows(self) -> int:
        """Rows at the end of the set that this epoch will not deliver."""
        return (self.set.rows - self._position) % self.batch_size

    def __len__(self) -> int:
        """Batches in a whole epoch."""
        return self.set.rows // self.batch_size

    def __iter__(self) -> Iterator[Batch]:
        if get_worker_info() is not None:
            raise WorkerProcessError(
                "TokenLoader reads in the process that trains: use DataLoader(loader, batch_size=None, "
                "num_workers=0), or the loader by itself"
            )
        return self._batches()

    def state_dict(self) -> dict[str, Any]:
        """Where the consumer is: JSON-like, the same on every rank."""
        return {
            "version": STATE_VERSION,
            "digest": self.set.digest,
            "epoch": self._epoch,
            "position": self._position,
            "batch_size": self.batch_size,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state; live iterators do too.

        The world size may be another one; so may the batch size, and no row is repeated or lost by that.
        Raises DigestMismatchError for a state of other rows, LoaderStateError for what is no state of a loader.
        """
        version = state_dict.get("version")
        if version != STATE_VERSION:
            raise LoaderStateError(f"a state of version {version}; this loader reads {STATE_VERSION}")
        digest = state_dict.get("digest")
        if digest != self.set.digest:
            raise DigestMismatchError(f"a state of the set {digest}; {self.set.uri} is {self.set.digest}")
        epoch, position = state_dict.get("epoch"), state_dict.get("position")
        if type(epoch) is not int or epoch < 0:
            raise LoaderStateError(f"epoch {epoch!r} is not a number of epochs")
        if type(position) is not int or not 0 <= position <= self.set.rows:
            raise LoaderStateError(f"position {position!r} is not within the {self.set.rows} rows of the set")
        self._epoch, self._position = epoch, position

    def _batches(self) -> Iterator[Batch]:
        while self._position + self.batch_size <= self.set.rows:
            batch = self._batch(self._position)
            self._position += self.batch_size
            yield batch
        self._epoch += 1
        self._position = 0

    def _batch(self, position: int) -> Batch:
        share = self.batch_size // self.world_size
        first = position + self.rank * share
        last = first + share
        block = self._blocks.take()
        try:
            expand(self.set.input_ids(first, last), self.set.document_lengths(first, last), block)
        except ValueError as error:
            raise ShardCorruptError(self.set.uri, f"rows {first} to {last}: {error}") from error
        return {name: torch.from_numpy(values) for name, values in zip(FIELDS, block, strict=True)}
