"""The packed rows that a version of a mixture draws from: the pinned snapshots of each source, end to end.

Guarantees that the rows are those that the version was registered with. Which of them are taken, and in which
order, is the plan's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from llm_assets.chain.link import MissingInputError
from llm_assets.chain.samples import concatenated
from llm_assets.chain.shard_partition import all_lengths, open_shards
from llm_assets.chain.versions import Recipe
from llm_assets.store.layout import Store
from llm_assets.store.manifest import split_name
from llm_assets.store.shards import DocumentLengths, ShardSet, ShardSetIndex


class ChangedInputError(RuntimeError):
    """What a version was registered with is no longer what there is."""


@dataclass(frozen=True)
class PackedSet:
    """One packed snapshot in a pool: its rows are `first` to `first + shards.rows` of its source."""

    source: str
    snapshot: str
    first: int
    shards: ShardSet


@dataclass(frozen=True)
class Pool:
    """All rows of all sources; a row has a number within its source. Never empty of sets."""

    sets: tuple[PackedSet, ...]

    @staticmethod
    def open(store: Store, recipe: Recipe) -> Pool:
        """Raises MissingInputError, ChangedInputError, and ValueError where rows do not go together."""
        sets: list[PackedSet] = []
        first: dict[str, int] = {}
        for name, pinned in recipe.inputs.items():
            asset, snapshot = split_name(name)
            source = asset.split("/")[0]
            shards = open_shards(store.packed(source, snapshot))
            if shards is None:
                raise MissingInputError(f"{name} is not there: materialize it first")
            if shards.digest != pinned.digest:
                raise ChangedInputError(
                    f"{name} was made again with other rows since this version was registered: make a new version"
                )
            sets.append(PackedSet(source, snapshot, first.get(source, 0), shards))
            first[source] = first.get(source, 0) + shards.rows
        kinds = {(s.shards.sequence_length, s.shards.index.tokenizer) for s in sets}
        if len(kinds) != 1:
            raise ValueError("the sources have rows of several lengths or tokenizers: " + ", ".join(recipe.inputs))
        return Pool(tuple(sets))

    @property
    def index(self) -> ShardSetIndex:
        """Of the first set: what it says of rows and tokenizer holds for all."""
        return self.sets[0].shards.index

    @property
    def rows_by_source(self) -> dict[str, int]:
        """Rows of each source."""
        rows: dict[str, int] = {}
        for packed in self.sets:
            rows[packed.source] = rows.get(packed.source, 0) + packed.shards.rows
        return rows

    def tokens_of_rows(self, source: str) -> npt.NDArray[np.int64]:
        """Tokens in each row of a source, int64 [rows]."""
        tokens = [
            np.add.reduceat(lengths.lengths, lengths.offsets[:-1], dtype=np.int64)
            for packed in self.sets
            if packed.source == source
            for lengths in all_lengths(packed.shards)
        ]
        return concatenated(tokens)

    def locate(
        self, source_names: Sequence[str], source: npt.NDArray[Any], row: npt.NDArray[np.int64]
    ) -> Iterator[tuple[PackedSet, npt.NDArray[np.intp], npt.NDArray[np.int64]]]:
        """For every packed set: which of the given rows it has, and their row numbers in it.

        `source` [n] are places in `source_names`, `row` [n] rows of these sources.
        """
        for packed in self.sets:
            mine = source == source_names.index(packed.source)
            here = np.flatnonzero(mine & (row >= packed.first) & (row < packed.first + packed.shards.rows))
            if len(here):
                yield packed, here, row[here] - packed.first

    def take(
        self, source_names: Sequence[str], source: npt.NDArray[Any], row: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[Any], DocumentLengths]:
        """Copies of the given rows, in their order: token ids [n, sequence_length] and document lengths."""
        shards = self.sets[0].shards
        ids = np.empty((len(row), shards.sequence_length), shards.dtype)
        counts = np.zeros(len(row), np.int64)
        parts: list[tuple[npt.NDArray[np.intp], npt.NDArray[np.int32]]] = []
        for packed, here, rows in self.locate(source_names, source, row):
            ids[here], lengths = packed.shards.take(rows)
            counts[here] = np.diff(lengths.offsets)
            parts.append((here, lengths.lengths))
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        taken = np.empty(int(offsets[-1]), np.int32)
        for here, lengths in parts:
            taken[_ranges(offsets[here], counts[here])] = lengths
        return ids, DocumentLengths(offsets, taken)


def _ranges(starts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """`starts[0] … starts[0] + counts[0] - 1, starts[1] …`, concatenated."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(int(counts.sum()))
