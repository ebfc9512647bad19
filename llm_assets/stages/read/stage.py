"""The read stage: every file of a part, by its suffix, to document rows and quarantine.

Guarantees that every file yields at least one row, and that whatever could not be read stands in quarantine with
its place. A read that fails (no such file, a broken connection) says nothing about the data and is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO

import pyarrow as pa

from llm_assets.contract.stage import StageOutput, code_version
from llm_assets.stages.read import VERSION
from llm_assets.stages.read.files import InputFile, Openable, ReadPart
from llm_assets.stages.read.lines import read_lines
from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.stages.read.records import RAW_LIMIT, Quarantined, ReadError, Record, UnreadableFileError
from llm_assets.stages.read.rows import RAW_SCHEMA, RowBatch
from llm_assets.stages.read.streams import Stream, gunzip, plain, unzstd
from llm_assets.stages.read.table import read_table
from llm_assets.stages.read.whole import read_whole

FileReader = Callable[[IO[bytes], ReadParameters], Iterator[Record]]
BlockReader = Callable[[Iterable[bytes], ReadParameters], Iterator[Record]]

__all__ = ["FORMATS", "RAW_SCHEMA", "ReadParameters", "ReadStage"]


def _streamed(stream: Stream, reader: BlockReader) -> FileReader:
    return lambda file, parameters: reader(stream(file), parameters)


_STREAMS: dict[str, Stream] = {"": plain, ".gz": gunzip, ".zst": unzstd}
_READERS: dict[str, BlockReader] = {
    ".jsonl": read_lines,
    ".ndjson": read_lines,
    ".txt": read_whole,
    ".md": read_whole,
}
FORMATS: dict[str, FileReader] = {
    ".parquet": read_table,
    **{
        suffix + compression: _streamed(stream, reader)
        for suffix, reader in _READERS.items()
        for compression, stream in _STREAMS.items()
    },
}
"""The reader for each suffix; case does not matter."""


@dataclass(frozen=True)
class ReadStage:
    """Reads the files of a part. Implements `llm_assets.contract.stage.Stage[ReadPart]`."""

    parameters: ReadParameters = field(default_factory=ReadParameters)

    @property
    def code_version(self) -> str:
        """Version of the code and of the parameters."""
        return code_version(VERSION, self.parameters)

    @property
    def schema(self) -> pa.Schema:
        """`RAW_SCHEMA`, for documents and quarantine alike."""
        return RAW_SCHEMA

    def process(self, part: ReadPart) -> Iterator[StageOutput]:
        """Batches of about 16 MiB, each with its documents and its quarantine (either may have no rows).

        Raises OSError where a file cannot be opened or read.
        """
        batch = RowBatch()
        for file in part.files:
            for record in self._records(part.folder, file):
                batch.add(file.name, record)
                if batch.full:
                    yield batch.output()
                    batch = RowBatch()
        if len(batch):
            yield batch.output()

    def _records(self, folder: Openable, file: InputFile) -> Iterator[Record]:
        """The records of a file; if there is none, or nothing can be read, one that stands for the file."""
        with folder.open(file.name) as opened:
            head = opened.read(RAW_LIMIT)
            opened.seek(0)
            failure: UnreadableFileError | None = None
            found = False
            try:
                for record in _reader(file, head)(opened, self.parameters):
                    found = True
                    yield record
            except UnreadableFileError as error:
                failure = error
            if not found and failure is None:
                failure = UnreadableFileError(ReadError.EMPTY_FILE, "there is no record in the file")
            if failure:
                byte_offset = None if _suffix(file) == ".parquet" else 0
                yield Quarantined(1, byte_offset, failure.error, failure.detail, head, file.size)


def _reader(file: InputFile, head: bytes) -> FileReader:
    if not head:
        raise UnreadableFileError(ReadError.EMPTY_FILE, "the file has no bytes")
    suffix = _suffix(file)
    if suffix is None:
        known = " ".join(FORMATS)
        raise UnreadableFileError(ReadError.UNKNOWN_FORMAT, f"no reader for this suffix; there are {known}")
    return FORMATS[suffix]


def _suffix(file: InputFile) -> str | None:
    name = file.name.lower()
    return next((suffix for suffix in FORMATS if name.endswith(suffix)), None)
