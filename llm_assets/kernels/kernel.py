"""The one way to compile a function of numbers and arrays.

Guarantees that no call runs code that was compiled from other sources than those imported: whatever is kept between
processes (`compiled`) bears the digest of its sources (`sources`). To import a kernel compiles, reads and writes
nothing, and does not import numba: who never calls one does not pay a tenth of a second and 54 MB for it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from threading import Lock
from types import FunctionType
from typing import Any, ParamSpec, TypeVar, cast, overload

from llm_assets.kernels import sources as sources  # imported to notice what changes from now on

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


@overload
def kernel(function: Callable[_Parameters, _Result], /) -> Callable[_Parameters, _Result]: ...


@overload
def kernel(
    *, counted: bool = True, **options: Any
) -> Callable[[Callable[_Parameters, _Result]], Callable[_Parameters, _Result]]: ...


def kernel(function: Callable[..., Any] | None = None, /, *, counted: bool = True, **options: Any) -> Any:
    """Compile a function without Python objects (`numba.njit`), to run without the interpreter's lock.

    With `counted=False` references to arrays are not counted: with calls as short as a word that takes a third of the
    time. Such a kernel may take arrays and slice them, but not make any. `options` are numba's, as `inline="always"`.
    """
    options = options | {"nogil": True} | ({} if counted else {"_nrt": False})
    return _Kernel(function, options) if function else lambda function: _Kernel(function, options)


class _Kernel:
    """A function that numba gets when it is first called, or when a kernel that calls it is compiled.

    All that numba asks of it (its type above all) and all else that it is asked for is the dispatcher's.
    """

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        update_wrapper(self, function)
        self._function, self._options, self._lock = function, options, Lock()
        self._dispatcher: Any = None

    def __call__(self, *arguments: Any) -> Any:
        return (self._dispatcher or self._dispatched())(*arguments)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # of protocols that nobody needs of a kernel, and that many look for
            raise AttributeError(name)
        return getattr(self._dispatched(), name)

    def __reduce__(self) -> str:
        return self._function.__qualname__

    def _dispatched(self) -> Any:
        with self._lock:
            if self._dispatcher is None:
                self._dispatcher = _dispatcher(self._function, self._options)
            return self._dispatcher


def _dispatcher(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    import numba

    from llm_assets.kernels.compiled import CompiledCode

    compiled = cast(Any, numba.njit(**options)(function))
    if not isinstance(compiled, FunctionType):  # as NUMBA_DISABLE_JIT leaves it
        compiled._cache = CompiledCode(function)
    return compiled
