"""The environment of a peer: `.bench/<peer>/`, made from the pinned versions in `peers/<peer>.txt`.

Guarantees that the environment is what the requirements say now: it is made anew when they change. Nothing is
ever installed in the project's own environment.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.harness import BENCH, BenchmarkError, progress

_STAMP = ".installed"


def peer_python(peer: str, base: Path = BENCH, requirements: Path | None = None) -> Path:
    """The interpreter of the peer's environment, made where it is missing or outdated. Raises BenchmarkError."""
    pinned = requirements or Path(__file__).parent / f"peers/{peer}.txt"
    folder = base / peer
    stamp = hashlib.blake2b(pinned.read_bytes() + sys.version.encode(), digest_size=16).hexdigest()
    if not _is_made(folder, stamp):
        progress(f"installing {peer} in {folder} …")
        _make(folder, pinned)
        (folder / _STAMP).write_text(stamp)
    return folder / "bin/python"


def _is_made(folder: Path, stamp: str) -> bool:
    try:
        return (folder / _STAMP).read_text() == stamp
    except FileNotFoundError:
        return False


def _make(folder: Path, pinned: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    venv.create(folder, with_pip=True)
    command = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--requirement", str(pinned)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise BenchmarkError(f"{pinned.name} could not be installed in {folder}:\n{finished.stderr.strip()}")
