"""Packages of kernels in a folder of their own, and processes that call them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import llm_assets

_PACKAGE: Final = Path(llm_assets.__path__[0])


def copy_package(folder: Path) -> Path:
    """This package as it comes: without compiled code, beside nothing that has some."""
    return Path(shutil.copytree(_PACKAGE, folder / _PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__")))


def write_package(folder: Path, files: Mapping[str, str]) -> Path:
    """A package whose modules have the given texts, by name without suffix."""
    folder.mkdir(parents=True)
    for name, text in {"__init__": "", **files}.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def replace_unseen(file: Path, old: str, new: str) -> None:
    """Replace the text `old`, which is there once, by one of the same length, and leave the file's size and time."""
    before = file.stat()
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def run(
    code: str, *folders: Path, user: Sequence[str] = (), **environment: str | Path
) -> subprocess.CompletedProcess[str]:
    """A process that imports from the folders first. Fails where it fails.

    Python leaves no bytecode: that of a file with the size and time of an older one would be taken for its own.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LLM_ASSETS", "XDG_"))}
    given = {name: str(value) for name, value in environment.items()}
    paths = os.pathsep.join(map(str, [*folders, *sys.path]))
    result = subprocess.run(
        [*user, sys.executable, "-c", code],
        env={**inherited, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": paths, **given},
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result


def compiled_files(folder: Path) -> list[Path]:
    """Files with compiled code anywhere below a folder."""
    return sorted(folder.rglob("*.compiled"))
