"""Small shard sets as plain Python, written and read back, and ways to change their files."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import xxhash
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from llm_assets.store.folder import Folder
from llm_assets.store.shards.checks import block_checksums, record_values, sealed_record
from llm_assets.store.shards.index import INDEX_FILE
from llm_assets.store.shards.shard_set import ShardSet, ShardSetError
from llm_assets.store.shards.table import encode_table
from llm_assets.store.shards.writer import ShardSetWriter, StagedShardSet

PAD = 0
Result = TypeVar("Result")
Set = TypeVar("Set", bound=ShardSet)


@dataclass(frozen=True)
class Example:
    """Rows as plain Python: per row its documents, each a list of ids, and its source."""

    sequence_length: int
    vocabulary_size: int
    documents: list[list[list[int]]]
    sources: list[int]

    def padded(self) -> list[list[int]]:
        rows = [[token for document in row for token in document] for row in self.documents]
        return [row + [PAD] * (self.sequence_length - len(row)) for row in rows]

    def lengths(self) -> list[list[int]]:
        return [[len(document) for document in row] for row in self.documents]


def make_example(seed: int, rows: int, sequence_length: int, vocabulary_size: int = 1000) -> Example:
    random = np.random.default_rng(seed)
    documents: list[list[list[int]]] = []
    for _ in range(rows):
        row: list[list[int]] = []
        room = sequence_length
        while room and (not row or random.random() < 0.8):
            length = int(random.integers(1, room + 1))
            row.append(random.integers(0, vocabulary_size, length).tolist())
            room -= length
        documents.append(row)
    return Example(sequence_length, vocabulary_size, documents, random.integers(0, 2, rows).tolist())


@st.composite
def examples(draw: st.DrawFn) -> Example:
    rows, length = draw(st.integers(0, 40)), draw(st.integers(1, 17))
    vocabulary = draw(st.sampled_from([2, 1000, 65_536, 65_537, 1 << 32]))
    return make_example(draw(st.integers(0, 2**32)), rows, length, vocabulary)


def stage(
    folder: Folder,
    example: Example,
    generation: str = "first",
    shard_bytes: int = 64 << 20,
    cuts: tuple[int, ...] = (),
) -> StagedShardSet:
    """Write an example, in as many calls of `append` as cuts make of it."""
    writer = ShardSetWriter(
        folder,
        generation,
        sequence_length=example.sequence_length,
        vocabulary_size=example.vocabulary_size,
        pad_id=PAD,
        tokenizer="fingerprint",
        sources=("web", "code"),
        shard_bytes=shard_bytes,
    )
    ids = np.array(example.padded(), np.int64).reshape(-1, example.sequence_length)
    counts = [len(row) for row in example.lengths()]
    offsets = np.concatenate([[0], np.cumsum(np.array(counts, np.int64))]).astype(np.int64)
    lengths = [length for row in example.lengths() for length in row]
    bounds = sorted({0, len(ids), *(cut for cut in cuts if cut <= len(ids))})
    with writer:
        for first, last in itertools.pairwise(bounds):
            writer.append(ids[first:last], offsets[first : last + 1], lengths, example.sources[first:last])
        return writer.finish()


def read(shards: ShardSet, first: int, last: int) -> tuple[list[list[int]], list[list[int]]]:
    offsets, lengths = shards.document_lengths(first, last)
    bounds = itertools.pairwise(offsets)
    return shards.input_ids(first, last).tolist(), [lengths[start:stop].tolist() for start, stop in bounds]


any_folder = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def result_or_error(action: Callable[[], Result]) -> Result | ShardSetError:
    try:
        return action()
    except ShardSetError as error:
        return error


def flipped(data: bytes, position: int, mask: int) -> bytes:
    return data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :]


def sealed_again(shards: Set) -> Set:
    """A local set whose table says that its shards, as they are now, were written so. Its index is not committed."""
    index, folder = shards.index, Path(shards.folder.path)
    data = [(folder / index.shard_file(number)).read_bytes() for number in range(index.shard_count)]
    blocks = [block_checksums(memoryview(each), index.block_bytes) for each in data]
    values = record_values([len(each) for each in blocks])
    records = [
        sealed_record(index.digest, index.layout.rows_per_shard, number, len(each), blocks[number], values)
        for number, each in enumerate(data)
    ]
    table, checks = encode_table(shards.shards(), np.array(records))
    (folder / index.table_file).write_bytes(table)
    changed = replace(index, checks=checks, table_checksum=xxhash.xxh3_128_hexdigest(table))
    return type(shards)(shards.folder, changed)


def seal_again(shards: ShardSet) -> ShardSet:
    """The same for a committed set, whose index is changed too."""
    changed = sealed_again(shards)
    (Path(shards.folder.path) / INDEX_FILE).write_bytes(changed.index.to_bytes())
    return changed
