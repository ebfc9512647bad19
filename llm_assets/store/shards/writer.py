"""Writes shard sets: rows are appended in training order, then committed in one step.

Guarantees that readers see no change before `commit`, that every committed row was checked, and that memory is bounded
by two shards and the rows of one `append`. The bytes depend on the rows and `shard_bytes` alone. `store.staging`
deletes files of dead attempts and old generations.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import numpy as np
import xxhash
from numpy.typing import ArrayLike, NDArray

from llm_assets.store.folder import Folder
from llm_assets.store.shards.checks import block_checksums, record_values, sealed_record
from llm_assets.store.shards.encoding import ContentDigest, ShardEncoder
from llm_assets.store.shards.index import INDEX_FILE, TABLE_FILE, CheckLayout, Shard, ShardSetIndex, shard_name
from llm_assets.store.shards.rows import PendingRows, RowRules, checked_rows
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets.store.shards.table import encode_table

BLOCK_BYTES = 128 << 10
"""Size of a checksummed block: the bytes to compare before one is used, and to fetch again where one is damaged.
Measured: smaller blocks make the first batch no faster, 256 KiB make it 0.03 ms slower; the table has 64 MB per TB."""

_GENERATION = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


class StagedShardSet(ShardSet):
    """A finished set that is not committed, so no reader of its folder sees it. It can be read like a committed one."""

    def commit(self, manifest: Mapping[str, Any]) -> ShardSet:
        """Commit this as the set of its folder, in one atomic step.

        `manifest` (JSON) is stored in the index. Raises ValueError or TypeError where it has no JSON form, and
        ShardSetError where a file of the set is missing; readers then still see the old set.
        """
        self.check_files()
        index = replace(self.index, manifest=dict(manifest))
        self.folder.put(INDEX_FILE, index.to_bytes())
        return ShardSet(self.folder, index)

    def discard(self) -> None:
        """Delete the files of this set."""
        self.folder.remove(self.index.generation)


class ShardSetWriter:
    """Writes the rows of a new generation of a shard set. Leaving the context without `finish` deletes them.

    `tokenizer` is the fingerprint of the tokenizer that made the ids. `sources` names the possible sources of rows. A
    shard has as many rows as fit in `shard_bytes`, but at least one.
    Raises ValueError for an invalid parameter, or a generation that exists.
    """

    def __init__(
        self,
        folder: Folder,
        generation: str,
        *,
        sequence_length: int,
        vocabulary_size: int,
        pad_id: int,
        tokenizer: str,
        sources: Sequence[str] = (),
        shard_bytes: int = 64 << 20,
    ) -> None:
        if not _GENERATION.fullmatch(generation):
            raise ValueError(f"{generation!r} cannot name a generation: letters, digits, _ - and . (not first)")
        if sequence_length < 1:
            raise ValueError(f"a row of {sequence_length} tokens")
        if not 0 <= pad_id < vocabulary_size <= 1 << 32:
            raise ValueError(f"pad id {pad_id} is not in a vocabulary of {vocabulary_size} (at most 2^32)")
        if len({*sources}) != len(sources):
            raise ValueError(f"a source named twice: {', '.join(sources)}")
        if folder.exists(generation):
            raise ValueError(f"generation {generation} exists already in {folder.uri}")
        dtype = np.dtype(np.uint16 if vocabulary_size <= 1 << 16 else np.uint32)
        self._folder = folder
        self._generation = generation
        self._tokenizer = tokenizer
        self._sources = tuple(sources)
        self._rules = RowRules(sequence_length, vocabulary_size, pad_id, len(self._sources))
        self._encoder = ShardEncoder(sequence_length, dtype, shard_bytes)
        self._pending = PendingRows(self._encoder.layout.rows_per_shard, sequence_length, dtype)
        self._dtype = dtype
        self._digest = ContentDigest()
        self._shards: list[Shard] = []
        self._blocks: list[NDArray[np.uint64]] = []
        self._rows = 0
        self._finished = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._finished:
            self._folder.remove(self._generation)

    def append(
        self,
        input_ids: NDArray[Any],
        offsets: ArrayLike,
        lengths: ArrayLike,
        sources: ArrayLike | None = None,
    ) -> None:
        """Append rows, in training order.

        `input_ids` is an integer array [n, sequence_length]. The documents of row i have
        `lengths[offsets[i]:offsets[i + 1]]` tokens and follow each other from the start of the row; the rest of the row
        must be the pad id. `sources` [n] is the index of each row's source; required where there are several.
        Raises ValueError, naming the first invalid row (counted from the start of the set), without appending any.
        """
        if self._finished:
            raise ValueError(f"{self._folder.uri}: the set is finished")
        rows = checked_rows(self._rules, self._rows, input_ids, offsets, lengths, sources)
        self._rows += len(rows)
        while len(rows):
            now, rows = rows.split(self._pending.room)
            self._pending.add(now)
            if not self._pending.room:
                self._write_shard()

    def finish(self) -> StagedShardSet:
        """Write the last shard and the table. The set can then be read and checked before it is committed."""
        if self._finished:
            raise ValueError(f"{self._folder.uri}: the set is finished")
        if len(self._pending):
            self._write_shard()
        digest = self._digest.hexdigest(**self._header())
        table, checks = encode_table(self._shards, self._records(digest))
        self._write(TABLE_FILE, table)
        self._finished = True
        return StagedShardSet(self._folder, self._index(digest, checks, xxhash.xxh3_128_hexdigest(table)))

    def _write_shard(self) -> None:
        rows = self._pending
        lengths = rows.lengths()
        self._digest.update(rows.input_ids, rows.counts, lengths)
        data = memoryview(self._encoder.encode(rows.input_ids, rows.counts, lengths)).cast("B")
        shard = Shard(
            file=shard_name(len(self._shards)),
            rows=len(rows),
            documents=len(lengths),
            tokens=int(rows.tokens.sum()),
            bytes=len(data),
            rows_by_source=self._by_source(np.ones(len(rows), np.int64)),
            tokens_by_source=self._by_source(rows.tokens),
            checksum=xxhash.xxh3_128_hexdigest(data),
        )
        self._write(shard.file, data)
        self._shards.append(shard)
        self._blocks.append(block_checksums(data, BLOCK_BYTES))
        rows.clear()

    def _by_source(self, amounts: NDArray[np.int64]) -> tuple[int, ...]:
        totals = np.zeros(len(self._sources), np.int64)
        if self._sources:
            np.add.at(totals, self._pending.sources, amounts)
        return tuple(totals.tolist())

    def _write(self, name: str, data: bytes | memoryview) -> None:
        """Write a file and sync it before the index names it: after a power cut a rename may be there without data."""
        with self._folder.create(f"{self._generation}/{name}") as file:
            file.write(data)

    def _header(self) -> dict[str, int | str]:
        """The parameters of the set that its digest covers."""
        return {
            "sequence_length": self._rules.sequence_length,
            "dtype": self._dtype.name,
            "vocabulary_size": self._rules.vocabulary_size,
            "pad_id": self._rules.pad_id,
            "tokenizer": self._tokenizer,
            "rows": self._rows,
        }

    def _records(self, digest: str) -> NDArray[Any]:
        """The sealed records of all shards, uint64 [shards, values]."""
        values = record_values([len(blocks) for blocks in self._blocks])
        per_shard = self._encoder.layout.rows_per_shard
        records = np.empty((len(self._shards), values), "<u8")
        for number, (shard, blocks) in enumerate(zip(self._shards, self._blocks, strict=True)):
            records[number] = sealed_record(digest, per_shard, number, shard.bytes, blocks, values)
        return records

    def _index(self, digest: str, checks: CheckLayout, table_checksum: str) -> ShardSetIndex:
        def by_source(counts: Iterable[Sequence[int]]) -> dict[str, int]:
            totals = np.array([*counts], np.int64).reshape(len(self._shards), len(self._sources)).sum(axis=0)
            return dict(zip(self._sources, totals.tolist(), strict=True))

        return ShardSetIndex(
            generation=self._generation,
            digest=digest,
            tokenizer=self._tokenizer,
            sequence_length=self._rules.sequence_length,
            dtype=self._dtype.name,
            vocabulary_size=self._rules.vocabulary_size,
            pad_id=self._rules.pad_id,
            rows=self._rows,
            documents=sum(shard.documents for shard in self._shards),
            tokens=sum(shard.tokens for shard in self._shards),
            rows_by_source=by_source(shard.rows_by_source for shard in self._shards),
            tokens_by_source=by_source(shard.tokens_by_source for shard in self._shards),
            block_bytes=BLOCK_BYTES,
            layout=self._encoder.layout,
            checks=checks,
            table_checksum=table_checksum,
        )
