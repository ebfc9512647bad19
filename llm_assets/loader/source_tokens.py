"""Counts the tokens of each source between two positions of a stream of rows.

Guarantees that the counts of consecutive ranges add up, to those of the whole set after every epoch. The counts come
from the table of shards; the provenance of single rows, which lies beside the shards, is never read.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llm_assets.store.shards.shard_set import ShardSet


class SourceTokens:
    """Tokens by source, without padding, of a set whose rows make `rows_per_epoch` rows of a stream.

    Exact where a range starts and ends at a shard boundary in an epoch in the order of the set. Within a shard tokens
    are assumed to be evenly spread, and shuffled epochs are counted like the first one. `sources` are the names, or a
    single "" where the set names none. Raises ShardSetError where the table of shards cannot be read.
    """

    def __init__(self, shards: ShardSet, rows_per_epoch: int) -> None:
        table = shards.shards()
        named = tuple(shards.index.tokens_by_source)
        self.sources = named or ("",)
        tokens = [shard.tokens_by_source if named else (shard.tokens,) for shard in table]
        self._epoch = rows_per_epoch
        ends = np.cumsum([0, *(shard.rows for shard in table)], dtype=np.float64)
        self._ends = ends * (rows_per_epoch / shards.rows)
        self._tokens = np.zeros((len(table) + 1, len(self.sources)))
        np.cumsum(tokens, axis=0, out=self._tokens[1:])

    def between(self, first: int, last: int) -> NDArray[np.float64]:
        """Tokens of rows `first` to `last` (exclusive) of the stream, float64 [sources]."""
        return self._before(last) - self._before(first)

    def _before(self, position: int) -> NDArray[np.float64]:
        epochs, row = divmod(position, self._epoch)
        within = [np.interp(row, self._ends, counts) for counts in self._tokens.T]
        return epochs * self._tokens[-1] + np.array(within)
