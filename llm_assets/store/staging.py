"""Attempts: records of the process that writes a generation of a partition, so that files of dead ones are deleted.

Every attempt to make a partition writes under a generation of its own and has a record until it ends. Guarantees that
only files of attempts that ended without a commit are deleted, whatever other processes write or commit meanwhile. The
table or set that is written defines its commit.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from llm_assets.errors import LlmAssetsError
from llm_assets.store.folder import Folder
from llm_assets.store.process import WriterProcess

ATTEMPTS = "_attempts"
_GENERATION = re.compile(r"[0-9a-f]{12}")
ABANDONED_AFTER_SECONDS = 24 * 3600.0
"""Whether a writer on another host is alive cannot be known: after this time it counts as dead."""

Committed = Callable[[], Collection[str]]
"""Returns the generations whose files readers may see, which must not be deleted; called at each decision."""


@dataclass(frozen=True)
class Attempt:
    """One attempt at writing below `folder`; all its files have `generation` in their path.

    As a context manager it deletes these files where the block raises anything.
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
        """Remove the record of the attempt, once it is committed or its files are deleted."""
        self.folder.remove(f"{ATTEMPTS}/{self.generation}.json")

    def discard(self) -> None:
        """Delete the files of the attempt, unless it was committed, and end it."""
        if self.generation not in self.committed():
            _remove_generation(self.folder, self.generation)
        self.end()


class LostFilesError(LlmAssetsError, RuntimeError):
    """Files of a staged generation are missing, or have another size than was written."""


def check_complete(folder: Folder, below: str, sizes: Mapping[str, int]) -> None:
    """Check, before a commit, that the files below `folder` have the sizes in bytes with which they were written.

    Raises LostFilesError. The files are gone where this process was taken for dead, or somebody deleted them.
    """
    found = folder.sizes(below)
    lost = [name for name, size in sizes.items() if found.get(name) != size]
    if lost:
        raise LostFilesError(
            f"not committed: {len(lost)} staged files below {folder.uri} are gone, the first is {lost[0]}. Run it again"
        )


def begin(folder: Folder, committed: Committed) -> Attempt:
    """Register a new attempt of this process, after deleting the files of dead attempts."""
    sweep(folder, committed)
    generation = secrets.token_hex(6)
    record = {"process": WriterProcess.this().as_dict(), "began": time.time()}
    folder.put(f"{ATTEMPTS}/{generation}.json", json.dumps(record).encode())
    return Attempt(folder, generation, committed)


def begin_in_set(folder: Folder, live: Callable[[], str | None]) -> Attempt:
    """Register an attempt in a folder whose generations are sub-folders; `live` returns the one that readers see.

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
    """Delete the files of dead attempts below `folder`."""
    for generation in _on_record(folder):
        if _is_over(folder, generation):
            Attempt(folder, generation, committed).discard()
    folder.remove_interrupted_puts(older_than_seconds=ABANDONED_AFTER_SECONDS)


def _on_record(folder: Folder) -> Iterator[str]:
    for name in (folder / ATTEMPTS).names():
        if not name.startswith("."):
            yield name.removesuffix(".json")


def _is_over(folder: Folder, generation: str) -> bool:
    """True where the attempt's process is dead. Without a record the attempt has ended by itself: False."""
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
