"""The pages of a Parquet column chunk, by their headers.

Guarantees that a header is read without what it describes, and that a damaged one ends in an error. Decoding pages is
Arrow's business; this tells beforehand how much memory that takes. Numbers of fields are those of the Parquet format.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, cast

from llm_assets.stages.read.tables.footer import Chunk
from llm_assets.stages.read.tables.thrift import DamagedThriftError, Struct, read_struct

DATA, DICTIONARY, DATA_V2 = 0, 2, 3
"""Kinds of pages; 1 is an index page."""
_ABOUT = {DATA: 5, DICTIONARY: 7, DATA_V2: 8}
"""The field that tells more of a page, by its kind."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page: where its data begins, its size as stored and decompressed, and how many values it has, nulls included.

    `encoding` is that of the values. Of version 2 `levels` is known: the bytes of the repetition and of the definition
    levels, with which the page then begins, uncompressed.
    """

    kind: int
    place: int
    stored: int
    size: int
    values: int
    encoding: int
    is_compressed: bool = True
    levels: tuple[int, int] | None = None


def pages_of(file: IO[bytes], chunk: Chunk) -> Iterator[Page]:
    """The pages of a column chunk in order. Raises DamagedThriftError."""
    place, end = chunk.start, chunk.start + chunk.stored
    values = 0
    while place < end and values < chunk.values:
        file.seek(place)
        page = _page(file)
        if page.kind in (DATA, DATA_V2):
            values += page.values
        yield page
        place = page.place + page.stored


def has_empty_page(file: IO[bytes], chunk: Chunk) -> bool:
    """Whether a data page without values comes before the last value: Arrow takes it for the end of the chunk."""
    try:
        return any(page.kind in (DATA, DATA_V2) and not page.values for page in pages_of(file, chunk))
    except DamagedThriftError:
        return False


def _page(file: IO[bytes]) -> Page:
    """The page whose header begins where the file is."""
    header = read_struct(file)
    try:
        kind, size, stored = header[1], header[2], header[3]
        about = cast("Struct", header.get(_ABOUT.get(kind, 0), {}))
        values = about.get(1, 0)
        levels = (about[6], about[5]) if kind == DATA_V2 else (0, 0)
        if min(size, stored, values, *levels) < 0 or sum(levels) > min(size, stored):
            raise DamagedThriftError("the sizes in a page header do not fit together")
        if kind != DATA_V2:
            return Page(kind, file.tell(), stored, size, values, about.get(2, 0))
        return Page(kind, file.tell(), stored, size, values, about[4], about.get(7, True), levels)
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedThriftError(f"a page header lacks what it should tell: {error!r}") from error
