"""Attempts: who is writing which generation of a partition, so that what a dead writer left can be swept.

Every attempt to make a partition writes under a generation of its own. Guarantees that a sweep deletes only
files of attempts whose process is gone and whose generation was never committed. What a commit is belongs to
the table or the set that is written.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import time
from collections.abc import Collection
from dataclasses import dataclass

import psutil

from llm_assets.store.folder import Folder

ATTEMPTS = "_attempts"
_GENERATION = re.compile(r"[0-9a-f]{12}")
ABANDONED_AFTER_SECONDS = 24 * 3600.0
"""A writer on another host cannot be asked whether it lives: after this time it is taken for dead."""


@dataclass(frozen=True)
class Attempt:
    """One attempt at writing below `folder`: everything it writes has `generation` in its path."""

    folder: Folder
    generation: str

    def end(self) -> None:
        """Say that the attempt is over: committed, or its files deleted."""
        self.folder.remove(f"{ATTEMPTS}/{self.generation}.json")

    def discard(self) -> None:
        """Delete all that the attempt wrote."""
        remove_generation(self.folder, self.generation)
        self.end()


def begin(folder: Folder) -> Attempt:
    """Register a new attempt by this process."""
    generation = secrets.token_hex(6)
    process = psutil.Process()
    owner = {
        "host": socket.gethostname(),
        "pid": process.pid,
        "process_started": process.create_time(),
        "attempt_started": time.time(),
    }
    folder.put(f"{ATTEMPTS}/{generation}.json", json.dumps(owner).encode())
    return Attempt(folder, generation)


def sweep(folder: Folder, committed: Collection[str]) -> list[str]:
    """Delete what dead attempts left below `folder`; return their generations.

    `committed` are the generations that readers may see: of those only the attempt's record is removed.
    """
    swept: list[str] = []
    for name in (folder / ATTEMPTS).names():
        generation = name.removesuffix(".json")
        if name.startswith(".") or _alive(folder, name):
            continue
        if generation in committed:
            folder.remove(f"{ATTEMPTS}/{name}")
            continue
        Attempt(folder, generation).discard()
        swept.append(generation)
    return swept


def remove_generation(folder: Folder, generation: str) -> None:
    """Delete every file below `folder` whose path names the generation."""
    for name in folder.find():
        if generation in name and not name.startswith(f"{ATTEMPTS}/"):
            folder.remove(name)
    if (folder / generation).names() == [] and folder.exists(generation):
        folder.remove(generation)


def _alive(folder: Folder, name: str) -> bool:
    try:
        owner = json.loads(folder.read(f"{ATTEMPTS}/{name}"))
    except FileNotFoundError:
        return True  # its owner ended it between the listing and now
    if owner["host"] != socket.gethostname():
        return time.time() - owner["attempt_started"] < ABANDONED_AFTER_SECONDS
    if owner["pid"] == os.getpid():
        return True
    try:
        return abs(psutil.Process(owner["pid"]).create_time() - owner["process_started"]) < 1.0
    except psutil.NoSuchProcess:
        return False


def begin_in_set(folder: Folder, live: str | None) -> Attempt:
    """Register an attempt in a folder whose generations are sub-folders, of which readers see `live`.

    Deletes what dead attempts left, and generations that an earlier commit superseded.
    """
    sweep(folder, {live} if live else set())
    running = {name.removesuffix(".json") for name in (folder / ATTEMPTS).names()}
    for name in folder.names():
        if _GENERATION.fullmatch(name) and name != live and name not in running:
            folder.remove(name)
    return begin(folder)
