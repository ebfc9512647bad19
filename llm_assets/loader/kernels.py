"""Compiled loops over tokens, for which numpy would need several passes. Imported only for a field that needs them."""

from __future__ import annotations

from typing import Any

from llm_assets.kernels.kernel import kernel


@kernel
def fill_positions(starts: Any, out: Any) -> None:
    """Count from 0 in each run. `starts` int64 [n], from 0 and rising; `out` [tokens], int32 or int64."""
    for run in range(starts.size):
        end = starts[run + 1] if run + 1 < starts.size else out.size
        part = out[starts[run] : end]
        for place in range(part.size):  # from 0: no index can be negative, so that the loop is vectorised
            part[place] = place


@kernel
def fill_numbers(starts: Any, numbers: Any, out: Any) -> None:
    """Give each token the number of its run. `numbers` int64 [n]; the others as in `fill_positions`."""
    for run in range(starts.size):
        end = starts[run + 1] if run + 1 < starts.size else out.size
        part = out[starts[run] : end]
        number = numbers[run]
        for place in range(part.size):
            part[place] = number
