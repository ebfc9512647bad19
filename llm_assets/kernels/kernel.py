"""How the kernels of cleaning are compiled that own no array.

Guarantees nothing but speed. A kernel declared so may take arrays and slice them, but not make any.
"""

from __future__ import annotations

from typing import Any, Final

import numba

_OPTIONS: Final[dict[str, Any]] = {"nogil": True, "cache": True, "_nrt": False}

uncounted: Final[Any] = numba.njit(**_OPTIONS)
"""`numba.njit` without counting references: with calls as short as a word that takes a third of the time."""
