"""The folder to which a shuffle spills: beside the version, or in `$TMPDIR` where the store is remote.

Guarantees that the files of a killed process are deleted by the next one that spills to the same folder, and no others.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from llm_assets.store.process import WriterProcess
from llm_assets.store.staging import ABANDONED_AFTER_SECONDS, Attempt

SPILL = "spill"
PREFIX = "llm-assets-spill-"
_WRITER = "process.json"


@contextmanager
def spill_folder(attempt: Attempt) -> Generator[Path]:
    """A folder to spill to, not created yet. Beside the shards it is deleted with the attempt."""
    if attempt.folder.is_local:
        yield attempt.folder.local_path(f"{attempt.generation}/{SPILL}")
        return
    place = Path(tempfile.gettempdir())
    sweep_spills(place)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=place) as folder:
        (Path(folder) / _WRITER).write_text(json.dumps(WriterProcess.this().as_dict()))
        yield Path(folder) / SPILL


def sweep_spills(place: Path) -> None:
    """Delete what dead processes of this user have spilled to a folder for temporary files."""
    for folder in place.glob(f"{PREFIX}*"):
        if _is_over(folder):
            shutil.rmtree(folder, ignore_errors=True)  # another process may be sweeping it too


def _is_over(folder: Path) -> bool:
    """True where the process that spilled is dead, or, if that cannot be known, began long ago."""
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        return False
    try:
        dead = WriterProcess.from_dict(json.loads((folder / _WRITER).read_text())).is_dead()
    except (FileNotFoundError, json.JSONDecodeError):  # being made, or being swept
        dead = None
    return time.time() - status.st_ctime > ABANDONED_AFTER_SECONDS if dead is None else dead
