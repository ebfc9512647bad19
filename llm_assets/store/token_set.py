"""Token sets: the token ids of every document of one snapshot, one Arrow IPC file per part.

Guarantees that `index.json`, written last, names only complete files. Ids are uncompressed, so that packing can map
them into memory. The fixed-length rows that a trainer reads are shard sets (`store.shards`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass

import pyarrow as pa

from llm_assets.store.digest import content_digest
from llm_assets.store.folder import Folder
from llm_assets.store.manifest import Manifest
from llm_assets.store.staging import Attempt, begin_in_set, check_complete
from llm_assets.store.token_schema import token_schema

FORMAT = 1
INDEX = "index.json"


@dataclass(frozen=True)
class TokenFile:
    """A file of a token set: path below the set, part number, documents, tokens, size in bytes."""

    path: str
    part: int
    documents: int
    tokens: int
    size: int


@dataclass(frozen=True)
class TokenFiles:
    """The files of one generation of a token set, staged or committed."""

    folder: Folder
    dtype: str
    parts: tuple[TokenFile, ...]

    def table(self, part: TokenFile) -> pa.Table:
        """The table of a part, memory-mapped where the set is on a local disk."""
        if self.folder.is_local:
            with pa.memory_map(str(self.folder.local_path(part.path))) as source:
                return pa.ipc.open_file(source).read_all()
        with self.folder.open(part.path) as file:
            return pa.ipc.open_file(pa.PythonFile(file, mode="r")).read_all()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All documents in order."""
        for part in self.parts:
            yield from self.table(part).to_batches()

    def digest(self) -> str:
        """Content digest over every document and its ids."""
        return content_digest(self.batches())

    @property
    def documents(self) -> int:
        """Documents in the set."""
        return sum(part.documents for part in self.parts)

    @property
    def tokens(self) -> int:
        """Tokens in the set."""
        return sum(part.tokens for part in self.parts)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(part.size for part in self.parts)


@dataclass(frozen=True)
class TokenSet(TokenFiles):
    """A committed token set."""

    manifest: Manifest

    @staticmethod
    def open(folder: Folder) -> TokenSet | None:
        """The set that is committed in the folder; None where there is none."""
        try:
            index = json.loads(folder.read(INDEX))
        except FileNotFoundError:
            return None
        parts = tuple(TokenFile(**part) for part in index["parts"])
        return TokenSet(folder, index["dtype"], parts, Manifest.from_dict(index["manifest"]))


@dataclass(frozen=True)
class StagedTokenSet(TokenFiles):
    """A complete token set that is not committed, so no reader sees it."""

    attempt: Attempt
    manifest: Manifest

    @property
    def uri(self) -> str:
        """The folder of the set."""
        return self.folder.uri

    def commit(self) -> None:
        """Write `index.json`, which makes this generation visible. Raises LostFilesError where files are gone."""
        check_complete(self.folder, self.attempt.generation, {part.path: part.size for part in self.parts})
        index = {
            "format": FORMAT,
            "kind": "tokens",
            "dtype": self.dtype,
            "parts": [asdict(part) for part in self.parts],
            "manifest": self.manifest.as_dict(),
        }
        self.folder.put(INDEX, json.dumps(index, indent=1).encode())
        self.attempt.end()

    def discard(self) -> None:
        """Delete the files, unless they were committed."""
        self.attempt.discard()


class TokenFileWriter:
    """Writes one part. Used by one thread."""

    def __init__(self, attempt: Attempt, part: int, dtype: str) -> None:
        self._folder, self._part = attempt.folder, part
        self._path = f"{attempt.generation}/part-{part:05d}.arrow"
        self._open = ExitStack()
        sink = self._open.enter_context(self._folder.create(self._path))
        self._writer = self._open.enter_context(pa.ipc.new_file(sink, token_schema(dtype)))
        self._documents = self._tokens = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Append documents in `token_schema`."""
        self._writer.write_batch(batch)
        self._documents += batch.num_rows
        self._tokens += len(batch.column("input_ids").flatten())

    def close(self) -> TokenFile:
        """Finish the file and return its description."""
        self._open.close()
        size = self._folder.size(self._path)
        return TokenFile(self._path, self._part, self._documents, self._tokens, size)


def begin_token_set(folder: Folder) -> Attempt:
    """Start an attempt, after deleting the files of dead attempts and superseded generations."""

    def live() -> str | None:
        tokens = TokenSet.open(folder)
        return tokens.manifest.generation if tokens else None

    return begin_in_set(folder, live)
