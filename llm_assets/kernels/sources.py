"""From which sources a kernel is compiled, and their digest.

Guarantees that the digest changes with whatever compiled code can contain: the kernel's own file, every file that it
imports (a kernel has its helpers and the constants of other modules inside it) and so on, as far as they belong to the
kernel's own package (for a module without one: to the folder where it lies) or to this one, and the versions of Python,
Unicode, numpy, numba and llvmlite. Neither the time nor the place of a file has a part in it. Other packages are not
looked at: what a kernel needs of them is an argument.
"""

from __future__ import annotations

import re
import sys
import sysconfig
import time
import unicodedata
from collections.abc import Iterator
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Final

_BEGAN: Final = time.time_ns()

_PACKAGE: Final = __name__.partition(".")[0]
_PACKAGE_HOME: Final = Path(__file__).parents[2]

_INSTALLED: Final = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib")}

# They match all that Python takes for an import, and some prose: a file too many does no harm. What follows `import`
# is only looked at, so that prose with an open bracket hides no statement.
_FROM: Final = re.compile(r"from\b\s*(\.*)([\w.]*)\s*\bimport\b[ \t]*(?=(\((?:#.*|[^)#])*\)|[^\n;#]*))")
_IMPORT: Final = re.compile(r"import\b[ \t]*(?=([^\n;#]*))")
_NAME: Final = re.compile(r"[\w.]+")


class UnknownSourcesError(Exception):
    """Nobody can tell from which sources a kernel was made, so nothing is known of its compiled code."""


@cache
def digest_of(module: str, file: Path) -> str:
    """Digest (32 hexadecimal digits) of all that the kernels of `module`, which was read from `file`, consist of.

    Raises UnknownSourcesError where a source is not a file (a cell of a notebook), or has changed since this process
    began: what was imported may be what it was before.
    """
    digest = blake2b(repr(_versions()).encode(), digest_size=16)
    for name, path in sorted(_closure(module, file).items()):
        content = _read(path)
        digest.update(f"\n{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _versions() -> tuple[object, ...]:
    # Here, not above: only who compiles needs them
    import llvmlite
    import numba
    import numpy as np

    libraries = (np.__version__, numba.__version__, llvmlite.__version__)
    return (sys.version, sys.flags.optimize, unicodedata.unidata_version, *libraries)


def _closure(module: str, file: Path) -> dict[str, Path]:
    """The files of a module and of all that it imports, by name."""
    above = file.parents
    home = above[min(module.count(".") + _is_package(file), len(above) - 1)]
    homes = {module.partition(".")[0]: home, _PACKAGE: _PACKAGE_HOME}
    beside = home if "." not in module and home not in _INSTALLED else None
    found: dict[str, Path] = {}
    waiting = [(module, file)]
    while waiting:
        name, path = waiting.pop()
        if name not in found:
            found[name] = path
            for each in _imported(name, path):
                where = homes.get(each.partition(".")[0], beside)
                waiting.extend((each, at) for at in _files(each, where))
    return found


def _imported(module: str, file: Path) -> Iterator[str]:
    """Names of modules that a file may import, and of much that is none."""
    text = _read(file).decode(errors="surrogateescape").replace("\\\r\n", " ").replace("\\\n", " ")
    for listed in _IMPORT.findall(text):
        yield from _NAME.findall(listed)
    levels = module.split(".") if _is_package(file) else module.split(".")[:-1]
    for dots, origin, listed in _FROM.findall(text):
        above = levels[: len(levels) + 1 - len(dots)] if dots else []
        base = ".".join([*above, origin] if origin else above)
        yield base
        yield from (f"{base}.{name}" for name in _NAME.findall(listed))


def _files(module: str, home: Path | None) -> Iterator[Path]:
    """The file of a module whose outermost package lies in `home`; none if it lies elsewhere."""
    if home is not None and "" not in module.split("."):
        path = home.joinpath(*module.split("."))
        yield from (each for each in (path.with_name(f"{path.name}.py"), path / "__init__.py") if each.is_file())


def _is_package(file: Path) -> bool:
    return file.name == "__init__.py"


@cache
def _read(file: Path) -> bytes:
    try:
        content = file.read_bytes()
        changed = file.stat().st_ctime_ns
    except OSError as error:
        raise UnknownSourcesError(f"{file} cannot be read") from error
    if changed > _BEGAN:
        raise UnknownSourcesError(f"{file} has changed since this process began")
    return content
