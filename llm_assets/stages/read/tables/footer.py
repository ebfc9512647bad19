"""Parses the footer of a Parquet file: leaf columns, row groups and column chunks.

Guarantees that a damaged footer ends in an error. (Arrow tells the same of its own, but a C++ exception behind some of
its accessors, where sizes in a footer do not fit, ends the process.) Numbers of fields are those of the Parquet format.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, cast

from llm_assets.stages.read.tables.thrift import DamagedThriftError, Struct, read_struct

_END_BYTES = 8
"""The length of the footer and the magic number, at the end of the file."""
_REPEATED, _REQUIRED = 2, 0

INT96, BYTE_ARRAY = 3, 6
WIDTHS = {0: 1, 1: 4, 2: 8, INT96: 8, 4: 4, 5: 8, BYTE_ARRAY: 8}
"""Bytes of a value in Arrow, by physical type; of a byte array those of its place. Fixed lengths are the leaf's own."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf column: its path, physical type, length of a fixed-length value, and highest levels."""

    path: str
    physical: int
    length: int
    repetition: int
    definition: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """The part of a leaf column in a row group: where its pages begin, bytes as stored and decompressed, and values."""

    leaf: Leaf
    codec: int
    encodings: frozenset[int]
    start: int
    stored: int
    size: int
    values: int


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group: its rows, and one chunk for each leaf column."""

    rows: int
    chunks: tuple[Chunk, ...]


def read_footer(file: IO[bytes]) -> tuple[RowGroup, ...]:
    """The row groups of a Parquet file. Raises DamagedThriftError."""
    end = file.seek(0, os.SEEK_END) - _END_BYTES
    file.seek(end)
    length = int.from_bytes(file.read(4), "little")
    if length > end:
        raise DamagedThriftError(f"the footer is said to have {length:,} bytes, before which there are {end:,}")
    file.seek(end - length)
    footer = read_struct(io.BytesIO(file.read(length)), texts=True)
    try:
        leaves = list(_leaves(iter(footer[2][1:]), footer[2][0].get(5, 0), (), 0, 0))
        return tuple(_row_group(group, leaves) for group in footer[4])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, StopIteration, RuntimeError) as error:
        raise DamagedThriftError(f"the footer does not fit together: {error!r}") from error


def _leaves(
    elements: Iterator[Struct], count: int, above: tuple[str, ...], repetition: int, definition: int
) -> Iterator[Leaf]:
    """The leaves of the next `count` elements of the schema, which is a tree told from front to back."""
    for _ in range(count):
        element = next(elements)
        kind = element.get(3, _REQUIRED)
        path = (*above, cast("bytes", element[4]).decode(errors="replace"))
        levels = repetition + (kind == _REPEATED), definition + (kind != _REQUIRED)
        if children := element.get(5, 0):
            yield from _leaves(elements, children, path, *levels)
        else:
            yield Leaf(".".join(path), element[1], element.get(2, 0), *levels)


def _row_group(group: Struct, leaves: list[Leaf]) -> RowGroup:
    chunks = [_chunk(chunk[3], leaf) for chunk, leaf in zip(group[1], leaves, strict=True)]
    return RowGroup(max(0, group[3]), tuple(chunks))


def _chunk(metadata: Struct, leaf: Leaf) -> Chunk:
    start, dictionary = metadata[9], metadata.get(11, 0)
    sizes = (metadata[7], metadata[6], metadata[5])
    return Chunk(
        leaf,
        metadata[4],
        frozenset(metadata[2]),
        max(0, min(start, dictionary) if dictionary else start),
        *(max(0, size) for size in sizes),
    )
