"""A store seen from outside: its bytes without what is random, what is left over, and a reader that never rests."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from llm_assets.cli.status import project_status
from llm_assets.components.declared import load_project
from llm_assets.contract.shard_partition import begin_shards, open_shards
from llm_assets.definitions import PROJECT
from llm_assets.project import Project
from llm_assets.store.documents import DocumentTable
from llm_assets.store.folder import Folder
from llm_assets.store.layout import Store
from llm_assets.store.manifest import Manifest
from llm_assets.store.staging import ATTEMPTS
from llm_assets.store.token_set import TokenSet, begin_token_set

TABLES = ("raw", "cleaned", "deduped")
_GENERATION = re.compile(r"(?<![0-9a-f])[0-9a-f]{12}(?![0-9a-f])")
_DATA = {".parquet", ".arrow"}


@contextmanager
def quick_folder() -> Generator[Path]:
    """A temporary folder in memory where there is one: a kill, unlike a power cut, does not tell it from a disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


def statuses(root: Path) -> dict[str, str]:
    """State and digest of every partition, as `llm-assets status` tells them."""
    found = project_status(_project(), Store(Folder(str(root))))
    return {
        f"{each.asset}[{each.partition}]": f"{each.state} {each.manifest and each.manifest.digest}" for each in found
    }


@cache
def _project() -> Project:
    return load_project(PROJECT)


def tables(root: Path) -> Iterator[DocumentTable]:
    """All document tables."""
    for source in (Folder(str(root)) / "sources").names():
        for stage in TABLES:
            yield DocumentTable(Folder(str(root)) / f"sources/{source}/{stage}", pa.schema([]))


def live_generations(root: Path) -> set[str]:
    """Generations that readers see now."""
    live = {generation for table in tables(root) for generation in table.snapshots().values()}
    for index in root.rglob("index.json"):
        content = json.loads(index.read_text())
        live.add(content["manifest"]["generation"])
    return live


def visible_bytes(root: Path) -> dict[str, str]:
    """Hash of every file that holds data which readers see, by its name without the generation."""
    live, files = live_generations(root), dict[str, str]()
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        name = path.relative_to(root).as_posix()
        generation = _GENERATION.search(name)
        is_data = generation is not None and generation[0] in live and path.suffix in _DATA
        if name.startswith("landing/") or not (is_data or path.name == "tokenizer.json"):
            continue
        files[_GENERATION.sub("<generation>", name)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return files


def attempts_on_record(root: Path) -> list[str]:
    """Records of attempts."""
    return [str(path.relative_to(root)) for path in root.rglob(f"{ATTEMPTS}/*") if path.is_file()]


def begin_everywhere(root: Path) -> None:
    """A new attempt at every set, given up at once: it deletes what a commit superseded, which readers may have had."""
    for index in root.rglob("index.json"):
        folder = Folder(str(index.parent))
        begin = begin_token_set if "tokenized" in index.parts else begin_shards
        begin(folder).discard()


def leftovers(root: Path) -> list[str]:
    """Attempts on record, and files of generations that were never committed, or superseded in a set."""
    committed = live_generations(root).union(*(table.committed_generations() for table in tables(root)))
    left: list[str] = []
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        name = path.relative_to(root)
        generation = _GENERATION.search(name.as_posix())
        uncommitted = generation is not None and generation[0] not in committed
        if name.parts[0] != "landing" and (ATTEMPTS in name.parts or uncommitted):
            left.append(str(name))
    return left


def unfinished_runs(home: Path) -> list[str]:
    """Runs that the instance still believes in."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        over = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
        return [f"{run.run_id} {run.status}" for run in instance.get_runs() if run.status not in over]


@dataclass
class Reader:
    """Reads everything there is, again and again, from another process than the one that writes.

    What it sees must be whole: an AssertionError, or whatever a library raises over half a file, ends it.
    """

    root: Path
    reads: dict[str, int] = field(default_factory=dict[str, int])
    over: threading.Event = field(default_factory=threading.Event)

    def read_until_over(self) -> None:
        while not self.over.is_set():
            self.read_everything()
            time.sleep(0.25)

    def read_everything(self) -> None:
        root = Folder(str(self.root))
        for table in tables(self.root):
            self._read_table(table)
        for source in (root / "sources").names():
            for snapshot in (root / f"sources/{source}/tokenized").names():
                self._read_tokens(root / f"sources/{source}/tokenized/{snapshot}")
            for snapshot in (root / f"sources/{source}/packed").names():
                self._read_shards(root / f"sources/{source}/packed/{snapshot}")
        for mixture in (root / "mixtures").names():
            for version in (root / f"mixtures/{mixture}").names():
                self._read_shards(root / f"mixtures/{mixture}/{version}")
        for name in (root / "tokenizers").names():
            if (root / f"tokenizers/{name}").exists("tokenizer.json"):
                json.loads((root / f"tokenizers/{name}").read("tokenizer.json"))
                self._count("tokenizer")

    def _count(self, what: str) -> None:
        self.reads[what] = self.reads.get(what, 0) + 1

    def _read_table(self, table: DocumentTable) -> None:
        """One version of the table: what the log names is there, and is what the manifest's ledger says."""
        try:
            delta = DeltaTable(table.folder.uri)
        except TableNotFoundError:
            return
        actions = pa.table(delta.get_add_actions(flatten=True)).to_pylist()
        generations = {(row["partition.snapshot"], _GENERATION.findall(row["path"])[-1]) for row in actions}
        assert len(generations) == len({snapshot for snapshot, _ in generations}), generations
        rows = self._rows(delta) if actions else {}
        for snapshot, generation in generations:
            committed = table.snapshot(snapshot, generation)
            assert committed is not None, f"{table.folder.uri}: {snapshot} {generation} has no manifest"
            assert rows.get(snapshot, {}) == _written(committed.manifest), f"{table.folder.uri}: {snapshot}"
            self._count(committed.manifest.asset.split("/")[1])

    @staticmethod
    def _rows(delta: DeltaTable) -> dict[str, dict[str, Any]]:
        """Of each snapshot its rows by disposition, counted from the columns themselves."""
        column = "kept" if "kept" in {field.name for field in delta.schema().fields} else "text"
        counted = (
            pl.scan_delta(delta)
            .group_by("snapshot", "disposition")
            .agg(pl.len().alias("rows"), pl.col(column).count().alias("values"), pl.col("doc_id").count().alias("ids"))
            .collect()
        )
        found: dict[str, dict[str, Any]] = {}
        for snapshot, disposition, rows, values, ids in counted.iter_rows():
            assert disposition == "quarantined" or values == ids == rows
            found.setdefault(snapshot, {})[disposition] = rows
        return found

    def _read_tokens(self, folder: Folder) -> None:
        tokens = TokenSet.open(folder)
        if tokens is not None:
            assert tokens.digest() == tokens.manifest.digest, folder.uri
            assert tokens.documents == tokens.manifest.ledger.output.documents, folder.uri
            self._count("tokenized")

    def _read_shards(self, folder: Folder) -> None:
        shards = open_shards(folder)
        if shards is not None:
            shards.verify()
            assert int(shards.document_lengths(0, shards.rows).lengths.sum()) == shards.index.tokens, folder.uri
            assert shards.digest == shards.index.manifest["digest"], folder.uri
            self._count("mixed" if "mixtures" in folder.uri else "packed")


def _written(manifest: Manifest) -> dict[str, int]:
    """Rows of each disposition that has any, by the ledger."""
    ledger = manifest.ledger
    if manifest.asset.endswith("/deduped"):
        rows = {"verdict": ledger.incoming.documents}
    else:
        rows = {
            "kept": ledger.kept.documents,
            "rejected": ledger.dropped_total.documents,
            "quarantined": ledger.quarantined_total.documents,
        }
    return {disposition: count for disposition, count in rows.items() if count}


@contextmanager
def reading(root: Path) -> Generator[Reader]:
    """A reader at work as long as the context is open. Raises what it found wrong."""
    reader = Reader(root)
    with ThreadPoolExecutor(1) as pool:
        work: Future[None] = pool.submit(reader.read_until_over)
        try:
            yield reader
        finally:
            reader.over.set()
        work.result()


def fresh_copy(landing: Path, folder: Path) -> Path:
    """A store in which only landed files are."""
    root = folder / "store"
    shutil.copytree(landing, root / "landing")
    return root
