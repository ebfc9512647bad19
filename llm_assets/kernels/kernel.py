"""The one way to compile a function of numbers and arrays.

Guarantees that no call runs code that was compiled from other sources than those imported: whatever is kept between
processes (`compiled`) bears the digest of its sources (`sources`). To import a kernel compiles, reads and writes
nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, ParamSpec, TypeVar, cast, overload

import numba

from llm_assets.kernels.compiled import CompiledCode

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
    if function is None:
        return lambda function: _compiled(function, counted, options)
    return _compiled(function, counted, options)


def _compiled(function: Callable[..., Any], counted: bool, options: dict[str, Any]) -> Any:
    if not counted:
        options = options | {"_nrt": False}
    compiled = cast(Any, numba.njit(nogil=True, **options)(function))
    if not isinstance(compiled, FunctionType):  # as NUMBA_DISABLE_JIT leaves it
        compiled._cache = CompiledCode(function)
    return compiled
