"""Selects rows held out for validation: the first ones of a permutation keyed by the source's name and size alone.

Guarantees that mixtures with other seeds and shares hold out the same rows, and that a larger number includes the rows
of a smaller one. A document that packing cut in two may be in a held-out row and in a training row.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from llm_assets.stages.mix.recipe import HeldOutAmount
from llm_assets.stages.mix.shares import MixtureError
from llm_assets.stages.mix.source_stream import SourceStream

_FIRST_STEP, _LAST_STEP = 64, 4096
"""Rows read at once to count their tokens: few at first, since each is a random read."""

TokensOf = Callable[[NDArray[np.int64]], NDArray[np.integer]]
"""Returns the number of tokens of each of the given rows of a source."""


def held_out_count(source: str, rows: int, amount: HeldOutAmount, tokens_of: TokensOf) -> int:
    """Number of rows to hold out of a source with `rows` rows: as given, or the fewest with the tokens asked for.

    Raises MixtureError where the source has fewer.
    """
    if amount.rows is not None:
        if amount.rows > rows:
            raise MixtureError(f"held_out: {amount.rows} rows of source {source!r}, which has {rows}: hold out fewer")
        return amount.rows
    stream, wanted, found = SourceStream.of(source, 0, rows), amount.tokens or 0, 0
    first, step = 0, _FIRST_STEP
    while first < rows and wanted:
        chosen = stream.held_out_rows(first, min(first + step, rows))
        tokens = found + np.cumsum(tokens_of(chosen), dtype=np.int64)
        if tokens[-1] >= wanted:
            return first + int(np.searchsorted(tokens, wanted)) + 1
        found, first, step = int(tokens[-1]), first + len(chosen), min(2 * step, _LAST_STEP)
    if not wanted:
        return 0
    raise MixtureError(f"held_out: {wanted} tokens of source {source!r}, which has {found}: hold out fewer")
