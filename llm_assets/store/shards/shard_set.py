"""Reads shard sets: the rows a model trains on, one long array divided into files.

Guarantees that row r is one computed byte range, so that opening a set and reading any row cost the same for any size;
that every byte is compared with its checksum before it is returned; and that an open set does not change when another
one is committed in its place. `files` (or another `ShardFiles`, such as `llm_assets.loader.cache`) reads and checks the
bytes; `writer` writes sets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llm_assets.store.folder import Folder
from llm_assets.store.shards.checks import check_size
from llm_assets.store.shards.files import ShardFiles, file_sizes, shard_files
from llm_assets.store.shards.index import (
    INDEX_FILE,
    IndexMalformedError,
    IndexVersionError,
    Shard,
    ShardCorruptError,
    ShardLayout,
    ShardMissingError,
    ShardSetError,
    ShardSetIndex,
    ShardSetMissingError,
    ShardTruncatedError,
)
from llm_assets.store.shards.table import ShardTable

__all__ = [
    "DocumentLengths",
    "IndexMalformedError",
    "IndexVersionError",
    "Shard",
    "ShardCorruptError",
    "ShardLayout",
    "ShardMissingError",
    "ShardSet",
    "ShardSetError",
    "ShardSetIndex",
    "ShardSetMissingError",
    "ShardTruncatedError",
]


_BLOCKS_AT_ONCE = 16


class DocumentLengths(NamedTuple):
    """Lengths in tokens of the documents in a range of rows.

    `offsets` is int64 [rows + 1] and starts at 0; `lengths` is int32. The documents of row i are
    `lengths[offsets[i]:offsets[i + 1]]`: one or more, each of at least 1, in total at most the sequence length. The
    rest of the row is padding.
    """

    offsets: NDArray[np.int64]
    lengths: NDArray[np.int32]


class _ShardRows(NamedTuple):
    """Rows `first` to `last` of one shard, which has `rows` rows; `last` is exclusive."""

    shard: int
    rows: int
    first: int
    last: int


class ShardSet:
    """A set of token rows: immutable, cheap to open, fork-safe, picklable (a copy opens its files anew).

    `files` reads the bytes of its shards, by default from the folder; it must be picklable and fork-safe too.
    """

    def __init__(self, folder: Folder, index: ShardSetIndex, files: ShardFiles | None = None) -> None:
        self.folder = folder
        self.index = index
        self._given_files = files

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (Folder(self.folder.uri), self.index, self._given_files)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.folder.uri!r}, rows={self.rows}, digest={self.digest!r})"

    @classmethod
    def open(cls, where: str | Path | Folder, *, check_files: bool = True) -> ShardSet:
        """Open the set committed in a folder.

        `check_files` also checks that every shard exists in full, by one listing and the table of shards, both of which
        grow with the number of shards.
        Raises ShardSetMissingError, IndexMalformedError, IndexVersionError, ShardMissingError,
        ShardTruncatedError, ShardCorruptError; each names the file.
        """
        folder = where if isinstance(where, Folder) else _absolute(Folder(str(where)))
        file = f"{folder.uri}/{INDEX_FILE}"
        try:
            data = folder.read(INDEX_FILE)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ShardSetMissingError(file, "no shard set is committed here") from error
        shards = ShardSet(folder, ShardSetIndex.from_bytes(data, file))
        if check_files:
            shards.check_files()
        return shards

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.index.rows

    @property
    def sequence_length(self) -> int:
        """Tokens in a row, padding included."""
        return self.index.sequence_length

    @property
    def digest(self) -> str:
        """blake3 (hex) of the rows in order, independent of the files."""
        return self.index.digest

    @property
    def uri(self) -> str:
        """URI of the folder of the set."""
        return self.folder.uri

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored token ids: uint16 or uint32."""
        return np.dtype(self.index.dtype)

    @cached_property
    def _files(self) -> ShardFiles:
        return self._given_files or shard_files(self.folder, self.index)

    def input_ids(self, first: int, last: int) -> NDArray[Any]:
        """Token ids of rows `first` to `last` (exclusive), `dtype` [last - first, sequence_length], read-only.

        A view of the mapped file where the rows lie in one local shard, else a copy.
        Raises IndexError, ShardMissingError, ShardTruncatedError, ShardCorruptError.
        """
        parts = [self._ids_of(chosen) for chosen in self._by_shard(first, last)]
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return np.empty((0, self.sequence_length), self.dtype)
        return np.concatenate(parts)

    def document_lengths(self, first: int, last: int) -> DocumentLengths:
        """Lengths of the documents in rows `first` to `last` (exclusive).

        Raises IndexError, ShardMissingError, ShardTruncatedError, ShardCorruptError.
        """
        parts = [self._lengths_of(chosen) for chosen in self._by_shard(first, last)]
        if len(parts) == 1:
            return parts[0]
        counts = [np.diff(part.offsets) for part in parts]
        offsets = np.zeros(last - first + 1, np.int64)
        if parts:
            np.cumsum(np.concatenate(counts), out=offsets[1:])
        lengths = [np.empty(0, np.int32), *(part.lengths for part in parts)]
        return DocumentLengths(offsets, np.concatenate(lengths))

    def take(self, rows: NDArray[np.int64]) -> tuple[NDArray[Any], DocumentLengths]:
        """Copies of any rows, in the order asked for, repeats allowed: token ids [len(rows), L] and lengths.

        Made for local sets: of each shard concerned, all rows from the first to the last one asked for are read.
        Raises IndexError, ShardMissingError, ShardTruncatedError, ShardCorruptError.
        """
        if len(rows) and not (int(rows.min()) >= 0 and int(rows.max()) < self.rows):
            raise IndexError(f"rows outside 0 to {self.rows} of {self.uri}")
        shard_of, row_in = np.divmod(rows, self.index.layout.rows_per_shard)
        ids = np.empty((len(rows), self.sequence_length), self.dtype)
        counts = np.zeros(len(rows), np.int64)
        parts: list[tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.int32]]] = []
        for shard in np.unique(shard_of).tolist():
            here = np.flatnonzero(shard_of == shard)
            chosen, wanted = self._chosen_around(shard, row_in[here])
            ids[here] = np.take(self._ids_of(chosen), wanted, axis=0, mode="clip")
            offsets, lengths = self._lengths_of(chosen)
            starts = offsets[wanted]
            counts[here] = offsets[wanted + 1] - starts
            parts.append((here, starts, lengths))
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        taken = np.empty(int(offsets[-1]), np.int32)
        for here, starts, lengths in parts:
            taken[_ranges(offsets[here], counts[here])] = lengths[_ranges(starts, counts[here])]
        return ids, DocumentLengths(offsets, taken)

    def announce(self, ranges: Iterable[tuple[int, int]]) -> Callable[[], None]:
        """Announce the row ranges (first, last; exclusive) that will be read next, for sets that prefetch.

        `ranges` may be endless. Call the result to withdraw the announcement. This class ignores it.
        """
        return _nothing

    def shards(self) -> tuple[Shard, ...]:
        """Descriptions of all shards. Raises ShardMissingError, ShardCorruptError, naming the table of shards."""
        return self._table().shards()

    def check_files(self) -> None:
        """Check that every shard exists with the size that was written, without reading it.

        Raises ShardMissingError, ShardTruncatedError, ShardCorruptError (longer, or a damaged table).
        """
        table = self._table()
        sizes = file_sizes(self.folder / self.index.generation)
        for name, written in zip(table.column("file"), table.column("bytes"), strict=True):
            file = f"{self.uri}/{self.index.generation}/{name}"
            size = sizes.get(name)
            if size is None:
                raise ShardMissingError(
                    file, "the index names this file, but it does not exist: restore it, or write the set again"
                )
            check_size(file, size, written)

    def verify(self) -> None:
        """Read every byte of the set and compare it with the checksums.

        Raises what `check_files` raises, and ShardCorruptError naming shard and block.
        """
        self.check_files()
        table = self._table()
        for shard in range(len(table)):
            blocks = table.blocks(shard)
            with self.folder.open(self.index.shard_file(shard)) as file:
                for first in range(0, len(blocks.blocks), _BLOCKS_AT_ONCE):
                    start, stop = blocks.block_range(first, first + _BLOCKS_AT_ONCE)
                    blocks.check(first, memoryview(file.read(stop - start)))

    def _table(self) -> ShardTable:
        try:
            data = self.folder.read(self.index.table_file)
        except FileNotFoundError as error:
            file = f"{self.uri}/{self.index.table_file}"
            raise ShardMissingError(
                file, "the index names this file, but it does not exist: restore it, or write the set again"
            ) from error
        return ShardTable(self.index, self.uri, data)

    def _chosen_around(self, shard: int, rows: NDArray[np.int64]) -> tuple[_ShardRows, NDArray[np.int64]]:
        """The shortest run of rows of a shard that has all of these, and their places in it."""
        first = int(rows.min())
        return _ShardRows(
            shard, self.index.layout.shard_rows(shard, self.rows), first, int(rows.max()) + 1
        ), rows - first

    def _by_shard(self, first: int, last: int) -> Iterator[_ShardRows]:
        if not 0 <= first <= last <= self.rows:
            raise IndexError(f"rows {first} to {last} are not within 0 to {self.rows} of {self.uri}")
        layout = self.index.layout
        for shard, start, stop in layout.within_shards(first, last):
            begin = shard * layout.rows_per_shard
            yield _ShardRows(shard, layout.shard_rows(shard, self.rows), start - begin, stop - begin)

    def _ids_of(self, chosen: _ShardRows) -> NDArray[Any]:
        layout = self.index.layout
        start = layout.input_ids_offset + chosen.first * layout.row_stride
        stop = layout.input_ids_offset + chosen.last * layout.row_stride
        data = self._files.read(chosen.shard, start, stop)
        return data.view(self.dtype).reshape(chosen.last - chosen.first, self.sequence_length)

    def _lengths_of(self, chosen: _ShardRows) -> DocumentLengths:
        start = self.index.layout.length_offsets_offset(chosen.rows)
        data = self._files.read(chosen.shard, start + 4 * chosen.first, start + 4 * (chosen.last + 1))
        offsets = data.view(np.int32).astype(np.int64)
        if offsets[0] < 0 or (offsets[1:] < offsets[:-1]).any():
            problem = f"offsets of document_lengths fall in rows {chosen.first} to {chosen.last}"
            raise ShardCorruptError(f"{self.uri}/{self.index.shard_file(chosen.shard)}", problem)
        start = self.index.layout.lengths_offset(chosen.rows)
        data = self._files.read(chosen.shard, start + 4 * int(offsets[0]), start + 4 * int(offsets[-1]))
        offsets -= offsets[0]
        return DocumentLengths(offsets, data.view(np.int32))


def _nothing() -> None:
    """Do nothing: there is no announcement to withdraw."""


def _absolute(folder: Folder) -> Folder:
    """The folder with an absolute path, for processes with another working directory."""
    return Folder(folder.path) if folder.is_local and folder.path != folder.uri else folder


def _ranges(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """`starts[0] … starts[0] + counts[0] - 1, starts[1] …`, concatenated."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(int(counts.sum()))
