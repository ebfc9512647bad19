"""Which row of which source stands at a position: the schedule's turn, and the row by a permutation.

Guarantees that row i depends on the shares, the seed, the names and sizes of the sources and i alone, and that
a source is used up before a row of it comes again. Refuses nothing: what may be used is `plan`'s to decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from llm_assets.stages.mix.permutation import ROUNDS, network_bits, permutation_keys, permuted
from llm_assets.stages.mix.schedule import Schedule


def rows_in_order(
    schedule: Schedule, names: Sequence[str], rows: Sequence[int], seed: int, first: int, last: int
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Source (int16 [last - first]) and row of the source (int64 [last - first]) at each position.

    `names` and `rows` (how many the source has) are in the order of the schedule's weights. The rows of a source
    come in an order of their own in each repetition. Raises IndexError for positions the schedule does not reach.
    """
    source, begin = schedule.turns(first, last)
    end = begin + np.bincount(source, minlength=len(names))
    first_key = np.zeros(len(names), np.int64)
    keys: list[NDArray[np.uint64]] = []
    for index in np.flatnonzero(end > begin).tolist():
        first_key[index] = len(keys)
        repetitions = range(int(begin[index]) // rows[index], (int(end[index]) - 1) // rows[index] + 1)
        keys.extend(permutation_keys(seed, names[index], repetition) for repetition in repetitions)
    size = np.array(rows, np.int64)
    table = np.array(keys, np.uint64).reshape(-1, ROUNDS)
    return source, _rows(source, begin % np.maximum(size, 1), size, first_key, table)


@numba.njit(nogil=True, cache=True)
def _rows(source: Any, next_index: Any, size: Any, key: Any, keys: Any) -> Any:
    """The row at each position; `next_index` and `key` say where each source stands, and are moved on."""
    bits = np.empty_like(size)
    for index in range(size.size):
        bits[index] = network_bits(size[index])
    row = np.empty(source.size, np.int64)
    for position in range(source.size):
        chosen = source[position]
        row[position] = permuted(next_index[chosen], size[chosen], bits[chosen], keys[key[chosen]])
        next_index[chosen] += 1
        if next_index[chosen] == size[chosen]:
            next_index[chosen] = 0
            key[chosen] += 1
    return row
