"""The formats that are read, each one value: its suffixes, and how it finds the records of a file.

Guarantees that compression and encodings work alike for all text formats. A new format of this package is a value here;
one of a project is a `Reader`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import IO, Protocol

import orjson

from llm_assets.stages.read import suffixes
from llm_assets.stages.read.given import read_given
from llm_assets.stages.read.layers.content import BlockFile, Content
from llm_assets.stages.read.layers.encoding import Transcoded, detect_encoding
from llm_assets.stages.read.parameters import DETECT, UTF8, ReadParameters
from llm_assets.stages.read.reader import Reader
from llm_assets.stages.read.records import Quarantined, Record
from llm_assets.stages.read.selection import Selection
from llm_assets.stages.read.tables.arrow import read_arrow
from llm_assets.stages.read.tables.parquet import read_parquet
from llm_assets.stages.read.text.delimited import read_comma_separated, read_tab_separated
from llm_assets.stages.read.text.json_document import read_json
from llm_assets.stages.read.text.json_lines import read_json_lines
from llm_assets.stages.read.text.units import read_text


class Format(Protocol):
    """A format of files."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The suffixes of the format's files."""
        ...

    def records(self, content: Content, parameters: ReadParameters) -> Iterator[Record]:
        """The records of a file, in order; number and place count from its own beginning.

        Raises UnreadableFileError in place of the first record, and BrokenStreamError behind the last that was read.
        """
        ...


@dataclass(frozen=True)
class TextFormat:
    """A format of text, read in blocks of UTF-8 from front to back."""

    suffixes: tuple[str, ...]
    read: Callable[[Iterable[bytes], ReadParameters], Iterator[Record]]

    def records(self, content: Content, parameters: ReadParameters) -> Iterator[Record]:
        """See `Format`. What encoding was found in a file is kept with each of its records."""
        if parameters.encoding == UTF8:
            yield from self.read(content.blocks(), parameters)
        elif parameters.encoding != DETECT:
            yield from self._transcoded(content, parameters.encoding, parameters)
        else:
            with content.twice() as again:
                encoding = detect_encoding(again.blocks())
                again.file.seek(0)
                records = self._transcoded(again, encoding, parameters)
                yield from (_with_encoding(record, encoding) for record in records)

    def _transcoded(self, content: Content, encoding: str, parameters: ReadParameters) -> Iterator[Record]:
        text = Transcoded(content.blocks(), encoding)
        for record in self.read(text, parameters):
            offset = record.byte_offset
            yield replace(record, byte_offset=None if offset is None else text.original(offset))


def _with_encoding(record: Record, encoding: str) -> Record:
    """The record with the encoding that was found: in its metadata, or in what is said of why it is none."""
    if isinstance(record, Quarantined):
        return replace(record, detail=f"{record.detail} (read as {encoding})")
    fields = {"file_encoding": encoding, **(orjson.loads(record.metadata) if record.metadata else {})}
    return replace(record, metadata=orjson.dumps(fields, option=orjson.OPT_SORT_KEYS))


@dataclass(frozen=True)
class TableFormat:
    """A format of tables, read here and there."""

    suffixes: tuple[str, ...]
    read: Callable[[IO[bytes], ReadParameters], Iterator[Record]]

    def records(self, content: Content, parameters: ReadParameters) -> Iterator[Record]:
        """See `Format`."""
        with content.seekable() as file:
            yield from self.read(file, parameters)


@dataclass(frozen=True)
class GivenFormat:
    """A format whose reader a project brings itself."""

    reader: Reader

    @property
    def suffixes(self) -> tuple[str, ...]:
        """See `Format`."""
        return self.reader.suffixes

    def records(self, content: Content, parameters: ReadParameters) -> Iterator[Record]:
        """See `Format`."""
        selection = Selection(parameters)
        if self.reader.seeks:
            with content.seekable() as file:
                yield from read_given(self.reader, file, selection)
            return
        blocks = BlockFile(content.blocks())
        yield from read_given(self.reader, io.BufferedReader(blocks), selection)
        if blocks.broken:
            raise blocks.broken


_FORMATS: tuple[Format, ...] = (
    TextFormat(suffixes.JSON_LINES, read_json_lines),
    TextFormat(suffixes.JSON, read_json),
    TextFormat(suffixes.PLAIN_TEXT, read_text),
    TextFormat(suffixes.COMMA_SEPARATED, read_comma_separated),
    TextFormat(suffixes.TAB_SEPARATED, read_tab_separated),
    TableFormat(suffixes.PARQUET, read_parquet),
    TableFormat(suffixes.ARROW, read_arrow),
)


def formats(parameters: ReadParameters) -> dict[str, Format]:
    """The format for each suffix; those that the project brings come first."""
    every = (*(GivenFormat(reader) for reader in parameters.readers), *_FORMATS)
    return {suffix: each for each in reversed(every) for suffix in each.suffixes}
