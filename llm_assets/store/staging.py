"""Attempts: who is writing which generation of a partition, so that what a dead writer left can be swept.

Every attempt to make a partition writes under a generation of its own, and is on record while it lasts. Guarantees
that only files of attempts that are over and were never committed are deleted, whoever else is writing or
committing at that moment. What a commit is belongs to the table or the set that is written.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from llm_assets.store.folder import Folder
from llm_assets.store.process import WriterProcess

ATTEMPTS = "_attempts"
_GENERATION = re.compile(r"[0-9a-f]{12}")
ABANDONED_AFTER_SECONDS = 24 * 3600.0
"""A writer on another host cannot be asked whether it lives: after this time it is taken for dead."""

Committed = Callable[[], Collection[str]]
"""The generations whose files are not to be deleted, since readers may see them; asked when it matters."""


@dataclass(frozen=True)
class Attempt:
    """One attempt at writing below `folder`: everything it writes has `generation` in its path.

    As a context manager it deletes what it wrote where the block raises anything.
    """

    folder: Folder
    generation: str
    committed: Committed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.discard()

    def end(self) -> None:
        """Say that the attempt is over: committed, or its files deleted."""
        self.folder.remove(f"{ATTEMPTS}/{self.generation}.json")

    def discard(self) -> None:
        """Delete all that the attempt wrote, unless it was committed: then readers have it, and it stays."""
        if self.generation not in self.committed():
            _remove_generation(self.folder, self.generation)
        self.end()


class LostFilesError(RuntimeError):
    """Files of a staged generation are not there any more, or not as they were written."""


def check_complete(folder: Folder, below: str, sizes: Mapping[str, int]) -> None:
    """See, before a commit, that files below `folder` have the sizes in bytes they were written with.

    Raises LostFilesError. It happens where this process was taken for dead, or somebody deleted them.
    """
    found = folder.sizes(below)
    lost = [name for name, size in sizes.items() if found.get(name) != size]
    if lost:
        raise LostFilesError(f"not committed: {len(lost)} staged files below {folder.uri} are gone, first {lost[0]}")


def begin(folder: Folder, committed: Committed) -> Attempt:
    """Register a new attempt by this process, after sweeping what dead attempts left."""
    sweep(folder, committed)
    generation = secrets.token_hex(6)
    record = {"process": WriterProcess.this().as_dict(), "began": time.time()}
    folder.put(f"{ATTEMPTS}/{generation}.json", json.dumps(record).encode())
    return Attempt(folder, generation, committed)


def begin_in_set(folder: Folder, live: Callable[[], str | None]) -> Attempt:
    """Register an attempt in a folder whose generations are sub-folders, of which readers see `live`.

    Deletes what dead attempts left, and generations that an earlier commit superseded.
    """

    def committed() -> set[str]:
        generation = live()
        return {generation} if generation else set()

    # In this order: an attempt is on record before it has a folder, and until after its commit is seen.
    found = [name for name in folder.names() if _GENERATION.fullmatch(name)]
    on_record = set(_on_record(folder))
    kept = committed()
    for generation in found:
        if generation not in on_record and generation not in kept:
            folder.remove(generation)
    return begin(folder, committed)


def sweep(folder: Folder, committed: Committed) -> None:
    """Delete what dead attempts left below `folder`."""
    for generation in _on_record(folder):
        if _is_over(folder, generation):
            Attempt(folder, generation, committed).discard()
    folder.remove_interrupted_puts(older_than_seconds=ABANDONED_AFTER_SECONDS)


def _on_record(folder: Folder) -> Iterator[str]:
    for name in (folder / ATTEMPTS).names():
        if not name.startswith("."):
            yield name.removesuffix(".json")


def _is_over(folder: Folder, generation: str) -> bool:
    """Whether the attempt's process is gone. If its record is, it has ended by itself."""
    try:
        record = json.loads(folder.read(f"{ATTEMPTS}/{generation}.json"))
    except FileNotFoundError:
        return False
    dead = WriterProcess.from_dict(record["process"]).is_dead()
    return time.time() - record["began"] > ABANDONED_AFTER_SECONDS if dead is None else dead


def _remove_generation(folder: Folder, generation: str) -> None:
    """Delete every file below `folder` whose path names the generation, and the folder of that name."""
    for name in folder.find():
        if generation in name and not name.startswith(f"{ATTEMPTS}/"):
            folder.remove(name)
    folder.remove(generation)
