"""The cache of compiled code as numba asks for it.

Guarantees that code is loaded only where it was compiled for the same sources (`sources`), signature and processor, and
that nothing is looked at before a function is called. Where files lie does not belong here, see `places`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from numba.core import caching
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from llm_assets.kernels.places import PLACE_VARIABLE, SavedCode
from llm_assets.kernels.sources import UnknownSourcesError, digest_of

_logger: Final = logging.getLogger(__name__)


class CompiledCode(caching._Cache):  # pyright: ignore[reportPrivateUsage]
    """The compiled code of one function, a file for each of its signatures.

    numba's own cache has an index beside the files, in which two processes that compile different signatures at once
    can enter the code of one under the signature of the other.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._enabled = True

    @property
    def cache_path(self) -> Any:
        """The folder that is tried first (str), or None where nothing is kept."""
        return None if self._kept is None else str(self._kept.places[0])

    def enable(self) -> None:
        """Load and save from now on."""
        self._enabled = True

    def disable(self) -> None:
        """Neither load nor save from now on."""
        self._enabled = False

    def flush(self) -> None:
        """Forget what was kept of this function."""
        if self._kept is not None:
            self._kept.clear()

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled code of a signature (numba's CompileResult), or None."""
        target_context.refresh()
        if self._kept is None or not self._enabled:
            return None
        key = self._key(sig, target_context.codegen())
        for found, code in self._kept.load(_short(key)):
            if found == key:
                return CompileResult._rebuild(target_context, *code)  # pyright: ignore[reportPrivateUsage]
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the compiled code of a signature (numba's CompileResult)."""
        if self._kept is None or not self._enabled:
            return
        if data.lifted or data.library.has_dynamic_globals:
            _say_once(f"{self._function.__qualname__} has pointers or large arrays as globals: make them arguments")
            return
        key = self._key(sig, data.codegen)
        if not self._kept.save(_short(key), dumps((key, data._reduce()))):
            _say_once(f"no folder for compiled code can be written; set {PLACE_VARIABLE} to one that can")

    @cached_property
    def _kept(self) -> SavedCode | None:
        source = Path(self._function.__code__.co_filename)
        try:
            digest = digest_of(self._function.__module__, source)
        except UnknownSourcesError as error:
            _say_once(str(error))
            return None
        return SavedCode.of(self._function.__module__, source, self._function.__qualname__, digest)

    def _key(self, signature: Any, codegen: Any) -> Any:
        """All by which the code of functions of one name and of the same sources can differ."""
        cells = tuple(cell.cell_contents for cell in self._function.__closure__ or ())
        return signature, codegen.magic_tuple(), self._function.__code__.co_code, dumps(cells)


def _short(key: Any) -> str:
    return sha256(repr(key).encode()).hexdigest()[:16]


@cache
def _say_once(reason: str) -> None:
    _logger.warning("Kernels are compiled in memory, in each process anew: %s", reason)
