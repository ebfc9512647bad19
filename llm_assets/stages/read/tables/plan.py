"""How many rows of a Parquet row group are decoded at a time, and whether it can be read at all.

Guarantees that decoding takes a bounded amount of memory, found out beforehand from what is stored: a value that stands
once in a dictionary, a prefix or a run of levels may come out a million times. A batch is decoded into `BATCH_BYTES` at
most, or one row. A row group is refused only where one of its pages or rows takes both more than `EXPANDED_BYTES` and
more than `EXPANSION` times its bytes in the file: text of people is not compressed like that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from llm_assets.stages.read.tables.footer import BYTE_ARRAY, WIDTHS, Chunk, RowGroup
from llm_assets.stages.read.tables.levels import DamagedLevelsError, RowCounter, runs_of, sum_of_delta_packed
from llm_assets.stages.read.tables.pages import DATA, DATA_V2, DICTIONARY, Page, pages_of
from llm_assets.stages.read.tables.thrift import DamagedThriftError

BATCH_BYTES = 32 << 20
MOST_ROWS = 1024
EXPANDED_BYTES = 256 << 20
EXPANSION = 16
_MUCH = 8 << 20
"""Only where so many bytes come of a column chunk, or an eighth of that is stored, its pages are looked at."""
_LEVEL_BYTES = 4
_DICTIONARY_ENCODINGS = frozenset([2, 8])
_DELTA_BYTE_ARRAY = 7
_UNCOMPRESSED = 0
_CODECS = {1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}


@dataclass(frozen=True)
class Plan:
    """Rows to decode at a time, and the leaf columns whose dictionaries are to be left in place."""

    rows: int
    dictionaries: tuple[str, ...] = ()


class TooLargeError(ValueError):
    """A row group cannot be decoded in a bounded amount of memory: says which column."""


def is_expanded(size: int, stored: int, limit: int = EXPANDED_BYTES) -> bool:
    """Whether `size` bytes are over `limit`, and far more than the `stored` bytes of a file that they come from."""
    return size > max(limit, EXPANSION * stored)


def plan_row_group(file: IO[bytes], group: RowGroup, chunks: Sequence[Chunk]) -> Plan:
    """The plan for some column chunks of a row group.

    Raises TooLargeError. Where the pages are damaged, the plan is the most careful one: decoding them will tell.
    """
    needs = [_Needs(file, chunk, group.rows) for chunk in chunks]
    stored = sum(chunk.stored for chunk in chunks)
    try:
        for what, sizes in (
            ("its pages take", [each.page_bytes for each in needs]),
            ("a row takes", [each.decoded_bytes(1) for each in needs]),
        ):
            if is_expanded(sum(sizes), stored):
                largest = chunks[int(np.argmax(sizes))].leaf.path
                raise TooLargeError(f"{what} {sum(sizes):,} bytes, most of them in column {largest!r}")
        fitting = (rows for rows in ROWS if sum(each.decoded_bytes(rows) for each in needs) <= BATCH_BYTES)
        return Plan(next(fitting, 1), tuple(each.path for each in needs if each.keeps_dictionary))
    except (DamagedThriftError, DamagedLevelsError):
        return Plan(1)


ROWS = (MOST_ROWS, 512, 256, 128, 64, 32, 16, 8, 4, 2)


@dataclass(frozen=True)
class _Pages:
    """Upper bounds of the contents of a column chunk's pages.

    `dictionary` and `largest` are the bytes of the dictionary and of the largest other page, `repeatable` those of the
    longest value that may be told several times, `longest_row` is the most values of a row. `extents` int64 [pages, 3]
    has for each data page the first and the last row in it, and the bytes of the values that stand in itself.
    """

    dictionary: int
    largest: int
    repeatable: int
    longest_row: int
    extents: npt.NDArray[np.int64]

    def window(self, rows: int) -> int:
        """Bytes of the data pages that any `rows` rows in a row lie in."""
        first, last, sizes = self.extents.T
        before = np.concatenate(([0], np.cumsum(sizes)))
        behind = np.searchsorted(first, last + rows)
        return int((before[behind] - before[:-1]).max(initial=0))


class _Needs:
    """Upper bounds of the memory for decoding one column chunk."""

    def __init__(self, file: IO[bytes], chunk: Chunk, rows: int) -> None:
        self._file, self._chunk, self._rows = file, chunk, rows
        self._is_list = chunk.leaf.repetition > 0
        self._is_bytes = chunk.leaf.physical == BYTE_ARRAY
        self._width = _LEVEL_BYTES + (WIDTHS.get(chunk.leaf.physical) or max(0, chunk.leaf.length))
        self.path = chunk.leaf.path

    @property
    def page_bytes(self) -> int:
        """The largest page decompressed, and the dictionary, which is held twice."""
        return self._pages.largest + 2 * self._pages.dictionary

    @property
    def keeps_dictionary(self) -> bool:
        """Whether lists of dictionary entries are to stay references: each may be long, and a list has many."""
        if not (self._is_bytes and self._is_list and self._pages.dictionary):
            return False
        return self._chunk.values * self._pages.repeatable > _MUCH

    def decoded_bytes(self, rows: int) -> int:
        """Bytes of any `rows` consecutive rows as Arrow arrays."""
        values = min(self._chunk.values, rows * self._pages.longest_row)
        size = values * self._width
        if not self._is_bytes:
            return size
        return size + self._pages.window(rows) + (0 if self.keeps_dictionary else values * self._pages.repeatable)

    @cached_property
    def _pages(self) -> _Pages:
        size, values = self._chunk.size, self._chunk.values
        dictionary = size if self._chunk.encodings & _DICTIONARY_ENCODINGS else 0
        repeatable = size if dictionary or _DELTA_BYTE_ARRAY in self._chunk.encodings else 0
        list_bytes = values * max(self._width, repeatable - dictionary) if self._is_list else 0
        if size > _MUCH // 8 or list_bytes > _MUCH:
            return self._looked_at()
        longest_row = values if self._is_list else 1
        return _Pages(dictionary, size, repeatable, longest_row, np.array([[0, self._rows - 1, size]]))

    def _looked_at(self) -> _Pages:
        pages = list(pages_of(self._file, self._chunk))
        data = [page for page in pages if page.kind in (DATA, DATA_V2)]
        dictionary = max((page.size for page in pages if page.kind == DICTIONARY), default=0)
        prefixed = max((page.size for page in data if page.encoding == _DELTA_BYTE_ARRAY), default=0)
        largest = max((page.size for page in data), default=0)
        if is_expanded(largest, self._chunk.stored):
            return _Pages(dictionary, largest, 0, 1, np.array([[0, self._rows - 1, largest]]))
        if self._is_list:
            return self._with_rows_counted(data, dictionary, largest)
        ends = np.cumsum([page.values for page in data])
        extents = [[end - page.values, end - 1, self._own_bytes(page)] for page, end in zip(data, ends, strict=True)]
        return _Pages(dictionary, largest, max(dictionary, prefixed), 1, np.array(extents).reshape(-1, 3))

    def _own_bytes(self, page: Page) -> int:
        """Bytes of the values that stand in a page itself."""
        return 0 if page.encoding in _DICTIONARY_ENCODINGS else page.size

    def _with_rows_counted(self, data: Sequence[Page], dictionary: int, largest: int) -> _Pages:
        """Bytes of rows of lists, which have any number of values."""
        counter = RowCounter()
        extents: list[tuple[int, int, int]] = []
        for page in data:
            levels, values = self._opened(page)
            first, last = counter.add(runs_of(levels, self._chunk.leaf.repetition.bit_length(), page.values))
            prefixes = sum_of_delta_packed(values) if self._is_bytes and page.encoding == _DELTA_BYTE_ARRAY else 0
            extents.append((first, last, self._own_bytes(page) + prefixes))
        if counter.rows != self._rows:
            raise DamagedLevelsError("the levels tell of another number of rows")
        return _Pages(dictionary, largest, dictionary, counter.longest, np.array(extents).reshape(-1, 3))

    def _opened(self, page: Page) -> tuple[bytes, bytes]:
        """The repetition levels of a page, and its values, both still encoded."""
        self._file.seek(page.place)
        stored = self._file.read(page.stored)
        if page.levels is not None:
            repetition, definition = page.levels
            values = stored[repetition + definition :]
            if page.is_compressed:
                values = self._decompressed(values, page.size - repetition - definition)
            return stored[:repetition], values
        data = self._decompressed(stored, page.size)
        repetition = 4 + int.from_bytes(data[:4], "little")
        behind = repetition
        if self._chunk.leaf.definition:
            behind += 4 + int.from_bytes(data[repetition : repetition + 4], "little")
        return data[4:repetition], data[behind:]

    def _decompressed(self, data: bytes, size: int) -> bytes:
        if self._chunk.codec == _UNCOMPRESSED or not data:
            return data
        codec = _CODECS.get(self._chunk.codec)
        if codec is None:
            raise DamagedLevelsError(f"pages of codec {self._chunk.codec} are not looked into")
        try:
            return pa.Codec(codec).decompress(data, size).to_pybytes()
        except (pa.ArrowException, OSError) as error:
            raise DamagedLevelsError(f"a page cannot be decompressed: {error}") from error
