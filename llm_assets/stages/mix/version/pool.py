"""The packed rows from which a version of a mixture is made: the pinned snapshots of each source, end to end.

Guarantees that the rows are those with which the version was registered. `plan` decides which rows are taken, and in
which order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from llm_assets.contract.link import MissingInputError
from llm_assets.contract.shard_partition import open_shards
from llm_assets.errors import LlmAssetsError
from llm_assets.stages.mix.shares import MixtureError
from llm_assets.store.layout import Store
from llm_assets.store.manifest import Input, split_name
from llm_assets.store.shards.shard_set import DocumentLengths, ShardSet, ShardSetIndex

ROWS_PER_READ = 1 << 16


class ChangedInputError(LlmAssetsError, RuntimeError):
    """An input of a registered version has changed since. The message names it and the remedy."""


@dataclass(frozen=True)
class PackedSet:
    """A packed snapshot in a pool, with rows `first` to `first + shards.rows` of its source."""

    name: str
    source: str
    snapshot: str
    first: int
    shards: ShardSet


@dataclass(frozen=True)
class Block:
    """Consecutive rows of a source, from `first` on: token ids [n, sequence_length] and document lengths."""

    source: str
    first: int
    input_ids: npt.NDArray[Any]
    lengths: DocumentLengths


@dataclass(frozen=True)
class Pool:
    """All rows of all sources, numbered within each source. Has at least one set."""

    sets: tuple[PackedSet, ...]

    @staticmethod
    def open(store: Store, inputs: Mapping[str, Input]) -> Pool:
        """The pool of the packed ones among pinned inputs; snapshots of a source are in the order of `inputs`.

        Raises MissingInputError, ChangedInputError, and MixtureError where row length or tokenizer differ.
        """
        sets: list[PackedSet] = []
        first: dict[str, int] = {}
        for name, source, snapshot in packed_inputs(inputs):
            shards = open_shards(store.packed(source, snapshot))
            if shards is None:
                raise MissingInputError(f"{name} is not there: materialize it first")
            if shards.digest != inputs[name].digest:
                raise ChangedInputError(
                    f"{name} was made again with other rows since this version was registered: make a new version"
                )
            sets.append(PackedSet(name, source, snapshot, first.get(source, 0), shards))
            first[source] = first.get(source, 0) + shards.rows
        if not sets:
            raise ValueError(f"no packed snapshot among {', '.join(inputs) or 'no inputs'}")
        _check_one_kind(sets)
        return Pool(tuple(sets))

    @property
    def index(self) -> ShardSetIndex:
        """The index of the first set: its row length and tokenizer are those of all."""
        return self.sets[0].shards.index

    @cached_property
    def _by_source(self) -> dict[str, list[PackedSet]]:
        by_source: dict[str, list[PackedSet]] = {}
        for packed in self.sets:
            by_source.setdefault(packed.source, []).append(packed)
        return by_source

    def sets_of(self, source: str) -> list[PackedSet]:
        """The packed snapshots of a source, end to end."""
        return self._by_source.get(source, [])

    @property
    def rows_by_source(self) -> dict[str, int]:
        """Rows of each source."""
        return {source: sum(packed.shards.rows for packed in sets) for source, sets in self._by_source.items()}

    @property
    def tokens_by_source(self) -> dict[str, int]:
        """Tokens of each source, padding not counted."""
        return {source: sum(packed.shards.index.tokens for packed in sets) for source, sets in self._by_source.items()}

    @property
    def row_bytes(self) -> int:
        """Bytes of the token ids of a row."""
        return self.index.layout.row_stride

    def tokens_of_rows(self, source: str) -> npt.NDArray[np.uint16 | np.uint32]:
        """Tokens in each row of a source: the narrower of uint16 and uint32 that holds a full row, [rows]."""
        dtype = np.uint16 if self.index.sequence_length < 1 << 16 else np.uint32
        tokens = np.empty(self.rows_by_source.get(source, 0), dtype)
        for packed in self.sets_of(source):
            for first in range(0, packed.shards.rows, ROWS_PER_READ):
                last = min(first + ROWS_PER_READ, packed.shards.rows)
                offsets, lengths = packed.shards.document_lengths(first, last)
                place = slice(packed.first + first, packed.first + last)
                tokens[place] = np.add.reduceat(lengths, offsets[:-1], dtype=np.int64)
        return tokens

    def locate(
        self, source: str, rows: npt.NDArray[np.int64]
    ) -> Iterator[tuple[PackedSet, npt.NDArray[np.intp], npt.NDArray[np.int64]]]:
        """Split rows of a source by packed set: the set, the indices of its rows in `rows`, and their numbers in it."""
        sets = self.sets_of(source)
        chosen = np.searchsorted([packed.first for packed in sets], rows, side="right") - 1
        by_set = np.argsort(chosen, kind="stable")
        ends = np.cumsum(np.bincount(chosen, minlength=len(sets)))
        for packed, here in zip(sets, np.split(by_set, ends[:-1]), strict=True):
            if len(here):
                yield packed, here, rows[here] - packed.first

    def take(self, source: str, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[Any], DocumentLengths]:
        """Copies of rows of a source, in the order of `rows`. Meant for few rows."""
        parts = [(here, *packed.shards.take(within)) for packed, here, within in self.locate(source, rows)]
        if not parts:
            empty = np.empty((0, self.index.sequence_length), np.dtype(self.index.dtype))
            return empty, DocumentLengths(np.zeros(1, np.int64), np.empty(0, np.int32))
        place = np.argsort(np.concatenate([here for here, _, _ in parts]))
        counts = np.concatenate([np.diff(lengths.offsets) for _, _, lengths in parts])
        starts = np.cumsum(counts) - counts
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts[place])])
        lengths = np.concatenate([lengths.lengths for _, _, lengths in parts])[ranges(starts[place], counts[place])]
        return np.concatenate([ids for _, ids, _ in parts])[place], DocumentLengths(offsets, lengths)

    def blocks(self, rows: int) -> Iterator[Block]:
        """All rows of all sources in stored order, in blocks of up to `rows` rows."""
        for packed in self.sets:
            shards, step = packed.shards, max(1, rows)
            for first in range(0, shards.rows, step):
                last = min(first + step, shards.rows)
                ids, lengths = shards.input_ids(first, last), shards.document_lengths(first, last)
                yield Block(packed.source, packed.first + first, ids, lengths)


def _check_one_kind(sets: Sequence[PackedSet]) -> None:
    kinds: dict[tuple[int, str], list[str]] = {}
    for packed in sets:
        index = packed.shards.index
        kinds.setdefault((index.sequence_length, index.tokenizer), []).append(packed.name)
    if len(kinds) > 1:
        described = "; ".join(
            f"{length} tokens of tokenizer {tokenizer[:12]} in {', '.join(names)}"
            for (length, tokenizer), names in kinds.items()
        )
        raise MixtureError(
            f"rows of one length and tokenizer are needed, but there are rows of {described}: materialize again what "
            "is not up to date, or pin other snapshots"
        )


def packed_name(name: str) -> tuple[str, str, str]:
    """`docs/packed[2026-01]` → `docs`, `packed`, `2026-01`."""
    asset, partition = split_name(name)
    source, _, stage = asset.rpartition("/")
    return source, stage, partition


def packed_inputs(names: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """The packed ones among the inputs of a version, in order: name, source and snapshot."""
    for name in names:
        source, stage, snapshot = packed_name(name)
        if stage == "packed":
            yield name, source, snapshot


def ranges(starts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """`starts[0] … starts[0] + counts[0] - 1, starts[1] …`, concatenated."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(int(counts.sum()))
