"""The index of a shard set: its description, and the layout from which the place of every row is computed.

Guarantees that an index is read as it was written or not at all (it has a checksum of itself), and that its size and
the cost of reading it do not depend on the number of rows or shards. Size, checksums and counts of single shards are in
a table beside the shards, each at a computed offset.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self, cast

import xxhash

from llm_assets.errors import LlmAssetsError

FORMAT = 2
INDEX_FILE = "index.json"
TABLE_FILE = "shards.arrow"

_OPENING = b'{\n "checksum": "'
_OPENING_BYTES = len(_OPENING) + 32


class ShardSetError(LlmAssetsError):
    """A shard set is missing or damaged. `file` names the file, `problem` the reason."""

    def __init__(self, file: str, problem: str) -> None:
        super().__init__(problem)
        self.args, self.file = (file, problem), file

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}"


class ShardSetMissingError(ShardSetError):
    """No shard set is committed: there is no index."""


class IndexMalformedError(ShardSetError):
    """The index differs from what was written."""


class IndexVersionError(ShardSetError):
    """The index has the format of another version of this package."""


class ShardMissingError(ShardSetError):
    """A file that the index names does not exist."""


class ShardTruncatedError(ShardSetError):
    """A file is shorter than was written."""


class ShardCorruptError(ShardSetError):
    """A file has other bytes than were written."""


@dataclass(frozen=True)
class ShardLayout:
    """Offsets of the buffers in every shard of a set, in bytes from the start of the file.

    All shards but the last have `rows_per_shard` rows. A shard is an Arrow IPC file of one record batch whose buffers
    follow each other, each aligned to 8 bytes: `input_ids` [rows, sequence_length], then int32 offsets [rows + 1] and
    int32 values of `document_lengths`.
    """

    rows_per_shard: int
    input_ids_offset: int
    row_stride: int

    def shard_count(self, rows: int) -> int:
        """Number of shards of a set with `rows` rows."""
        return -(-rows // self.rows_per_shard)

    def shard_rows(self, shard: int, rows: int) -> int:
        """Rows in one shard of a set of `rows` rows."""
        return min(self.rows_per_shard, rows - shard * self.rows_per_shard)

    def within_shards(self, first: int, last: int) -> Iterator[tuple[int, int, int]]:
        """Split rows `first` to `last` (exclusive) at shard boundaries: (shard, first, last) for each shard."""
        while first < last:
            shard = first // self.rows_per_shard
            stop = min(last, (shard + 1) * self.rows_per_shard)
            yield shard, first, stop
            first = stop

    def length_offsets_offset(self, shard_rows: int) -> int:
        """Offset of the offsets of `document_lengths` in a shard of this many rows."""
        return _align(self.input_ids_offset + shard_rows * self.row_stride)

    def lengths_offset(self, shard_rows: int) -> int:
        """Offset of the values of `document_lengths` in a shard of this many rows."""
        return _align(self.length_offsets_offset(shard_rows) + 4 * (shard_rows + 1))


def _align(offset: int) -> int:
    return -(-offset // 8) * 8


@dataclass(frozen=True)
class CheckLayout:
    """Offset of the records of `checks` in the table of shards, and the stride from one to the next, in bytes."""

    offset: int
    stride: int

    def record_range(self, shard: int) -> tuple[int, int]:
        """The bytes (start, stop) of the record of a shard."""
        start = self.offset + shard * self.stride
        return start, start + self.stride


@dataclass(frozen=True)
class Shard:
    """A file of a set, as the table of shards describes it. `file` is its name in the folder of the generation.

    `checksum` is xxh3_128 (hex) of the whole file. The counts by source follow the order of the index.
    """

    file: str
    rows: int
    documents: int
    tokens: int
    bytes: int
    rows_by_source: tuple[int, ...]
    tokens_by_source: tuple[int, ...]
    checksum: str

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The shard of one record of the table, read as Python values."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in record.items()
        }
        return cls(**values)


@dataclass(frozen=True)
class ShardSetIndex:
    """The description of a shard set.

    `digest` is blake3 of the logical content (`encoding.ContentDigest`): sets with one digest have the same rows in the
    same order, however they are divided into shards. `generation` is the folder of the files. `tokens` does not count
    padding. `block_bytes` is the size of a checksummed block, `checks` the place of the checksums
    in the table of shards, `table_checksum` xxh3_128 of that table. `manifest` is JSON for the maker of the set.
    """

    generation: str
    digest: str
    tokenizer: str
    sequence_length: int
    dtype: str
    vocabulary_size: int
    pad_id: int
    rows: int
    documents: int
    tokens: int
    rows_by_source: Mapping[str, int]
    tokens_by_source: Mapping[str, int]
    block_bytes: int
    layout: ShardLayout
    checks: CheckLayout
    table_checksum: str
    manifest: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def shard_count(self) -> int:
        """Number of shards."""
        return self.layout.shard_count(self.rows)

    @property
    def table_file(self) -> str:
        """Name of the table of shards within the folder of the set."""
        return f"{self.generation}/{TABLE_FILE}"

    def shard_file(self, shard: int) -> str:
        """Name of a shard within the folder of the set."""
        return f"{self.generation}/{shard_name(shard)}"

    def to_bytes(self) -> bytes:
        """The content of `index.json`. Raises ValueError or TypeError where the manifest has no JSON form."""
        content = json.dumps({"format": FORMAT, **asdict(self)}, indent=1, allow_nan=False).encode()
        return _with_checksum(b'",' + content.removeprefix(b"{"))

    @classmethod
    def from_bytes(cls, data: bytes, file: str) -> Self:
        """The index that `to_bytes` wrote. Raises IndexMalformedError or IndexVersionError, naming `file`."""
        content = _json_object(data, file)
        version = content.pop("format", None)
        if type(version) is not int or version < 1:
            raise IndexMalformedError(file, "is not the index of a shard set: it has no format number")
        if version != FORMAT:
            raise IndexVersionError(file, f"has format {version}; this version reads format {FORMAT}")
        if data != _with_checksum(data[_OPENING_BYTES:]):
            raise IndexMalformedError(file, "its content does not match its checksum")
        del content["checksum"]
        try:
            layout, checks = ShardLayout(**content.pop("layout")), CheckLayout(**content.pop("checks"))
            return cls(layout=layout, checks=checks, **content)
        except (KeyError, TypeError) as error:
            raise IndexMalformedError(file, f"lacks a field or has one too many: {error}") from error


def shard_name(shard: int) -> str:
    """File name of a shard within the folder of its generation."""
    return f"shard-{shard:05d}.arrow"


def _with_checksum(rest: bytes) -> bytes:
    """The bytes of an index: the checksum, then the content that it covers."""
    return _OPENING + xxhash.xxh3_128_hexdigest(rest).encode() + rest


def _json_object(data: bytes, file: str) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except ValueError as error:
        raise IndexMalformedError(file, f"is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise IndexMalformedError(file, "is not a JSON object")
    return cast("dict[str, Any]", content)
