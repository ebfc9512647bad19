"""A staged shard set as a partition: its manifest, and the provenance of its rows beside the shards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from llm_assets.contract.link import Link, MissingInputError, Shown
from llm_assets.kernels.arrow import column
from llm_assets.store.folder import Folder
from llm_assets.store.manifest import Manifest, partition_name
from llm_assets.store.shards.shard_set import DocumentLengths, ShardSet, ShardSetMissingError
from llm_assets.store.shards.writer import StagedShardSet
from llm_assets.store.staging import Attempt, begin_in_set

PROVENANCE = "provenance.parquet"
ROWS_PER_READ = 4096


@dataclass(frozen=True)
class StagedShards:
    """A shard set that is complete, but that no reader sees yet."""

    shards: StagedShardSet
    attempt: Attempt
    manifest: Manifest

    @property
    def uri(self) -> str:
        """The folder of the set."""
        return self.shards.uri

    @property
    def size(self) -> int:
        """Bytes of all shards."""
        return sum(shard.bytes for shard in self.shards.shards())

    def commit(self) -> None:
        """Put the index: from then on readers see this generation."""
        self.shards.commit(self.manifest.as_dict())
        self.attempt.end()

    def discard(self) -> None:
        """Delete the files, unless they were committed."""
        self.attempt.discard()


def open_shards(folder: Folder, *, check_files: bool = True) -> ShardSet | None:
    """The committed set of a folder; None where there is none."""
    try:
        return ShardSet.open(folder, check_files=check_files)
    except ShardSetMissingError:
        return None


def shards_manifest(folder: Folder) -> Manifest | None:
    """Manifest of the committed set of a folder; None where there is none."""
    shards = open_shards(folder)
    return Manifest.from_dict(shards.index.manifest) if shards else None


def begin_shards(folder: Folder) -> Attempt:
    """Start an attempt, after deleting what dead attempts left and what was superseded earlier."""

    def live() -> str | None:
        shards = open_shards(folder, check_files=False)
        return shards.index.generation if shards else None

    return begin_in_set(folder, live)


def write_provenance(attempt: Attempt, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    """Write where every row comes from, beside the shards of the attempt."""
    with (
        attempt.folder.create(f"{attempt.generation}/{PROVENANCE}") as sink,
        pq.ParquetWriter(sink, schema, compression="zstd", compression_level=1) as writer,
    ):
        for batch in batches:
            writer.write_batch(batch)


def read_provenance(shards: ShardSet, columns: list[str] | None = None) -> pa.Table:
    """Where every row of a set comes from."""
    with shards.folder.open(f"{shards.index.generation}/{PROVENANCE}") as file:
        return pq.read_table(pa.PythonFile(file, mode="r"), columns=columns)


def all_lengths(shards: ShardSet) -> Iterator[DocumentLengths]:
    """Document lengths of all rows, some rows at a time."""
    for first in range(0, shards.rows, ROWS_PER_READ):
        yield shards.document_lengths(first, min(first + ROWS_PER_READ, shards.rows))


class Decoder(Protocol):
    """Gives the text of token ids."""

    def decode(self, ids: npt.NDArray[Any]) -> str:
        """The text of token ids: integers [tokens]."""
        ...


def shown_rows(link: Link[Any], shards: ShardSet | None, partition: str, tokenizer: Decoder) -> Iterator[Shown]:
    """The rows of a committed set, a piece for each document. Raises MissingInputError where the set is None."""
    if shards is None:
        raise MissingInputError.of(partition_name(link.asset, partition))
    for row in range(shards.rows):
        ids = shards.input_ids(row, row + 1)[0]
        lengths = shards.document_lengths(row, row + 1).lengths
        pieces = [tokenizer.decode(each) for each in np.split(ids, np.cumsum(lengths))[: len(lengths)]]
        padding = shards.sequence_length - int(lengths.sum())
        yield Shown(f"row {row:,} of {shards.rows:,}: {len(lengths)} documents, {padding} tokens of padding", pieces)


def row_schema(shards: ShardSet) -> pa.Schema:
    """Columns of the rows of a set, as its shards have them."""
    ids = pa.list_(pa.type_for_alias(shards.index.dtype), shards.sequence_length)
    lengths = pa.list_(pa.int32())
    return pa.schema(
        [
            column("input_ids", ids, "token ids of a row; where the documents end, the rest is padding"),
            column("document_lengths", lengths, "tokens of each document, or piece of one, in the row"),
        ]
    )
