"""Where compiled code is kept between processes, and the files there.

A convenience, never a condition: a file that is damaged or cannot be read is none. Files lie below `$LLM_ASSETS_CACHE`
where that is given; else in `__pycache__` beside the source, as Python keeps its own, or in the user's cache folder:
all are read, and the first that can be written takes what is new.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Self

PLACE_VARIABLE: Final = "LLM_ASSETS_CACHE"

OTHERS_KEPT: Final = 8
"""Files from other sources that stay, for each function: versions of a package may share a folder, and a hundred edits
should not leave a hundred copies."""

_CHECKSUM_SIZE: Final = 32


@dataclass(frozen=True)
class SavedCode:
    """The compiled code of one function, with the digest of its sources."""

    places: tuple[Path, ...]
    function: str
    digest: str

    @classmethod
    def of(cls, module: str, source: Path, qualified_name: str, digest: str) -> Self:
        """As for a function of `module`, which was read from the file `source`."""
        name = f"{source.stem}.{qualified_name}".replace("<", "").replace(">", "")
        return cls(tuple(_places(module, source)), name, digest)

    def load(self, name: str) -> Iterator[Any]:
        """The code saved under a name, in any of the places."""
        for place in self.places:
            with contextlib.suppress(OSError):
                content = (place / self._file(name)).read_bytes()
                kept = content[_CHECKSUM_SIZE:]
                if sha256(kept).digest() == content[:_CHECKSUM_SIZE]:
                    yield pickle.loads(kept)

    def save(self, name: str, pickled: bytes) -> bool:
        """Save what `load` is to yield, in the first place that can be written; False if none can."""
        content = sha256(pickled).digest() + pickled
        for place in self.places:
            with contextlib.suppress(OSError):
                _write(place / self._file(name), content)
                self._sweep(place)
                return True
        return False

    def clear(self) -> None:
        """Remove all files of the function that can be removed."""
        for place in self.places:
            for file in self._files(place):
                _remove(file)

    def _file(self, name: str) -> str:
        return f"{self.function}-{self.digest}-{name}.compiled"

    def _files(self, place: Path) -> list[Path]:
        return list(place.glob(f"{self.function}-*"))

    def _sweep(self, place: Path) -> None:
        """Remove what other sources left, but for the latest."""
        others = [file for file in self._files(place) if not file.name.startswith(f"{self.function}-{self.digest}-")]
        for file in sorted(others, key=_changed)[:-OTHERS_KEPT]:
            _remove(file)


def _places(module: str, source: Path) -> Iterator[Path]:
    given = os.environ.get(PLACE_VARIABLE)
    if given:
        yield Path(given, "kernels", module)
        return
    yield source.parent / "__pycache__"
    with contextlib.suppress(RuntimeError):  # a user without a home
        yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "llm_assets", "kernels", module)


def _write(file: Path, content: bytes) -> None:
    """Write a file whole or not at all. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f"{file.name}.{uuid.uuid4().hex}")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(file)
    except OSError:
        _remove(unfinished)
        raise


def _remove(file: Path) -> None:
    with contextlib.suppress(OSError):  # another process may have, or it is not ours
        file.unlink()


def _changed(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:  # another process has removed it
        return 0
