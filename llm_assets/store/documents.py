"""Document tables: one Delta table per source and stage, partitioned by snapshot and disposition.

Guarantees that a snapshot's kept, rejected and quarantined rows and its manifest change in one log entry: readers see
the old generation or the new one. Workers write Parquet files themselves; until the log entry names them, the files
are staged. The stages decide which rows are kept.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction

from llm_assets.errors import LlmAssetsError
from llm_assets.store import staging
from llm_assets.store.folder import Folder
from llm_assets.store.manifest import Manifest

PARTITION_COLUMNS = ["snapshot", "disposition"]
COMMIT_ATTEMPTS = 60
_LONGEST_PAUSE_SECONDS = 1.0
_PROPERTY = "llm_assets"
_DICTIONARY_COLUMNS = ["file", "error", "partner_snapshot"]


class OtherSchemaError(LlmAssetsError, RuntimeError):
    """The table has other columns than this version writes."""


@dataclass(frozen=True)
class DocumentFile:
    """A Parquet file of a snapshot: path below the table, part number, disposition, rows, size in bytes."""

    path: str
    part: int
    disposition: str
    rows: int
    size: int


@dataclass(frozen=True)
class SnapshotFiles:
    """The files of one generation of a snapshot, staged or committed: read part by part, in order."""

    folder: Folder
    files: tuple[DocumentFile, ...]

    @property
    def parts(self) -> list[int]:
        """Part numbers, ascending."""
        return sorted({file.part for file in self.files})

    def count(self, disposition: str, part: int | None = None) -> int:
        """Rows of a disposition, in one part or in all, read from the Parquet footers."""
        return sum(pq.read_metadata(self._source(file)).num_rows for file in self._of(disposition, part))

    def batches(
        self, disposition: str, columns: Sequence[str] | None = None, part: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Record batches of a disposition in document order, of one part or of all."""
        for file in self._of(disposition, part):
            with pq.ParquetFile(self._source(file)) as parquet:
                for group in range(parquet.num_row_groups):
                    names = None if columns is None else list(columns)
                    yield from parquet.read_row_group(group, columns=names).to_batches()

    def take(
        self, disposition: str, places: npt.NDArray[np.int64], columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The rows of a disposition at ascending row numbers in document order, one row group at a time.

        Only row groups with one of these rows are read. Raises IndexError for numbers that do not ascend or exceed the
        rows.
        """
        if np.any(np.diff(places) <= 0) or np.any(places[:1] < 0):
            raise IndexError("row numbers must ascend from 0 on")
        names = None if columns is None else list(columns)
        start = 0
        for file in self._of(disposition):
            with pq.ParquetFile(self._source(file)) as parquet:
                for group in range(parquet.num_row_groups):
                    end = start + parquet.metadata.row_group(group).num_rows
                    first, last = np.searchsorted(places, [start, end])
                    if first < last:
                        rows = parquet.read_row_group(group, columns=names)
                        yield from rows.take(pa.array(places[first:last] - start)).to_batches()
                    start = end
        if np.any(places >= start):
            raise IndexError(f"there is no {disposition} row {places[-1]:,}: there are {start:,}")

    def table(self, disposition: str, columns: Sequence[str], part: int | None = None) -> pa.Table:
        """Some columns of the rows of a disposition, of one part or of all, in memory. Raises LookupError."""
        files = self._of(disposition, part)
        if not files:
            raise LookupError(f"{self.folder.uri} has no {disposition} rows in this generation")
        return pa.concat_tables(self._read(file, columns) for file in files)

    def _read(self, file: DocumentFile, columns: Sequence[str]) -> pa.Table:
        with pq.ParquetFile(self._source(file)) as parquet:
            return parquet.read(columns=list(columns))

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def _of(self, disposition: str, part: int | None = None) -> list[DocumentFile]:
        chosen = [file for file in self.files if file.disposition == disposition and part in (None, file.part)]
        return sorted(chosen, key=lambda file: file.part)

    def _source(self, file: DocumentFile) -> str | pa.NativeFile:
        if self.folder.is_local:
            return str(self.folder.local_path(file.path))
        return pa.PythonFile(self.folder.filesystem.open(f"{self.folder.path}/{file.path}", "rb"), mode="r")


@dataclass(frozen=True)
class CommittedSnapshot(SnapshotFiles):
    """A committed generation of a snapshot."""

    manifest: Manifest


class _OpenFile:
    """A Parquet file being written."""

    def __init__(self, folder: Folder, path: str, schema: pa.Schema) -> None:
        self.path, self.rows = path, 0
        self._open = ExitStack()
        self._writer = self._open.enter_context(
            pq.ParquetWriter(
                self._open.enter_context(folder.create(path)),
                schema,
                compression="zstd",
                compression_level=1,
                use_dictionary=cast("bool", [name for name in _DICTIONARY_COLUMNS if name in schema.names]),
                write_statistics=False,
            )
        )

    def write(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows:
            self._writer.write_batch(batch)
            self.rows += batch.num_rows

    def close(self) -> None:
        self._open.close()


class PartWriter:
    """Writes the rows of one part, a Parquet file per disposition. Used by one thread."""

    def __init__(self, folder: Folder, schema: pa.Schema, snapshot: str, part: int, generation: str) -> None:
        self._folder, self._schema = folder, schema
        self._snapshot, self._part, self._generation = snapshot, part, generation
        self._files: dict[str, _OpenFile] = {}

    def write(self, disposition: str, batch: pa.RecordBatch) -> None:
        """Append a batch. The first of a disposition creates its file, even where it has no rows."""
        if disposition not in self._files:
            name = f"part-{self._part:05d}-{self._generation}.parquet"
            path = f"snapshot={self._snapshot}/disposition={disposition}/{name}"
            self._files[disposition] = _OpenFile(self._folder, path, self._schema)
        self._files[disposition].write(batch)

    def close(self) -> list[DocumentFile]:
        """Finish the files and describe them."""
        for file in self._files.values():
            file.close()
        return [
            DocumentFile(file.path, self._part, disposition, file.rows, self._folder.size(file.path))
            for disposition, file in sorted(self._files.items())
        ]


@dataclass(frozen=True)
class StagedSnapshot(SnapshotFiles):
    """A complete generation of a snapshot that is not committed, so no reader sees it."""

    target: DocumentTable
    attempt: staging.Attempt
    manifest: Manifest

    @property
    def uri(self) -> str:
        """The table, for any Delta reader."""
        return self.folder.uri

    def commit(self) -> None:
        """Replace the snapshot's rows in one log entry. Raises LostFilesError where staged files are gone."""
        staging.check_complete(
            self.folder, f"snapshot={self.manifest.partition}", {file.path: file.size for file in self.files}
        )
        self.target.commit(self)
        self.attempt.end()

    def discard(self) -> None:
        """Delete the files, unless they were committed."""
        self.attempt.discard()


@dataclass(frozen=True)
class DocumentTable:
    """The Delta table of one stage of one source. `schema` is without the partition columns."""

    folder: Folder
    schema: pa.Schema

    @property
    def _delta_schema(self) -> Schema:
        fields = [*self.schema, *(pa.field(name, pa.string()) for name in PARTITION_COLUMNS)]
        return Schema.from_arrow(pa.schema(fields))

    def begin(self) -> staging.Attempt:
        """Start an attempt at a snapshot, after deleting the files of dead attempts.

        Raises OtherSchemaError where the committed table has other columns.
        """
        table = self._open()
        if table is not None and pa.schema(table.schema().to_arrow()) != pa.schema(self._delta_schema.to_arrow()):
            raise OtherSchemaError(
                f"{self.folder.uri} has other columns than this version writes: delete the folder and make all its "
                "snapshots again"
            )
        return staging.begin(self.folder, self.committed_generations)

    def part_writer(self, attempt: staging.Attempt, snapshot: str, part: int) -> PartWriter:
        """A writer for one part of an attempt."""
        return PartWriter(self.folder, self.schema, snapshot, part, attempt.generation)

    def stage(self, attempt: staging.Attempt, files: Sequence[DocumentFile], manifest: Manifest) -> StagedSnapshot:
        """The attempt's files as a staged snapshot, to be read and then committed or discarded."""
        return StagedSnapshot(self.folder, tuple(files), self, attempt, manifest)

    def snapshots(self) -> dict[str, str]:
        """Committed snapshots by name, with the generation that readers see now."""
        table = self._open()
        if table is None:
            return {}
        actions = pa.table(table.get_add_actions(flatten=True)).select(["path", "partition.snapshot"])
        return {row["partition.snapshot"]: _generation_of(row["path"]) for row in actions.to_pylist()}

    def committed_generations(self) -> set[str]:
        """All generations that were ever committed, of all snapshots: superseded ones may still be read."""
        table = self._open()
        if table is None:
            return set()
        entries = [entry[_PROPERTY] for entry in table.history() if _PROPERTY in entry]
        return {*self.snapshots().values(), *(entry["generation"] for entry in entries)}

    def live_generation(self, snapshot: str) -> str | None:
        """The generation of a snapshot that readers see now; None before the first commit."""
        return self.snapshots().get(snapshot)

    def snapshot(self, name: str, generation: str | None = None) -> CommittedSnapshot | None:
        """The committed snapshot, or an earlier generation of it; None where there is none."""
        generation = generation or self.live_generation(name)
        if generation is None:
            return None
        try:
            data = json.loads(self.folder.read(_manifest_name(name, generation)))
        except FileNotFoundError:
            return None
        files = tuple(DocumentFile(**file) for file in data["files"])
        return CommittedSnapshot(self.folder, files, Manifest.from_dict(data["manifest"]))

    def commit(self, staged: StagedSnapshot) -> None:
        """Replace the snapshot's files in one log entry; retried while others commit (`COMMIT_ATTEMPTS`)."""
        manifest = staged.manifest
        record = {"manifest": manifest.as_dict(), "files": [vars(file) for file in staged.files]}
        self.folder.put(_manifest_name(manifest.partition, manifest.generation), _json(record))
        for attempt in range(1, COMMIT_ATTEMPTS + 1):
            try:
                self._commit_once(staged)
                return
            except CommitFailedError:
                if attempt == COMMIT_ATTEMPTS:
                    raise
                time.sleep(random.uniform(0, min(_LONGEST_PAUSE_SECONDS, 0.05 * attempt)))

    def _commit_once(self, staged: StagedSnapshot) -> None:
        table = self._open() or self._create()
        table.create_write_transaction(
            [_add_action(staged.manifest.partition, file) for file in staged.files],
            mode="overwrite",
            schema=self._delta_schema,
            partition_by=PARTITION_COLUMNS,
            partition_filters=[("snapshot", "=", staged.manifest.partition)],
            # With retries, delta-rs would rebase onto later commits, also of this very snapshot, and add the files
            # without replacing those.
            commit_properties=CommitProperties(
                custom_metadata={_PROPERTY: _summary(staged.manifest)}, max_commit_retries=0
            ),
        )

    def _open(self) -> DeltaTable | None:
        try:
            return DeltaTable(self.folder.uri)
        except TableNotFoundError:
            return None

    def _create(self) -> DeltaTable:
        if self.folder.is_local:
            self.folder.local_path().mkdir(parents=True, exist_ok=True)
        try:
            return DeltaTable.create(self.folder.uri, self._delta_schema, mode="error", partition_by=PARTITION_COLUMNS)
        except DeltaError:
            table = self._open()  # another commit created it first
            if table is None:
                raise
            return table


def _generation_of(path: str) -> str:
    return PurePosixPath(path).stem.rsplit("-", 1)[1]


def _manifest_name(snapshot: str, generation: str) -> str:
    return f"_manifests/{snapshot}/{generation}.json"


def _summary(manifest: Manifest) -> dict[str, str]:
    return {"generation": manifest.generation, "digest": manifest.digest, "asset": manifest.asset}


def _json(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, indent=1).encode()


def _add_action(snapshot: str, file: DocumentFile) -> AddAction:
    return AddAction(
        path=file.path,
        size=file.size,
        partition_values={"snapshot": snapshot, "disposition": file.disposition},
        modification_time=int(time.time() * 1000),
        data_change=True,
        stats=json.dumps({"numRecords": file.rows}),
    )
