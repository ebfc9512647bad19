"""What is held out: as many rows as asked for, or as few as have the tokens."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from llm_assets.stages.mix.held_out import held_out_count
from llm_assets.stages.mix.recipe import HeldOutAmount, HeldOutParameters
from llm_assets.stages.mix.shares import MixtureError
from llm_assets.stages.mix.source_stream import SourceStream

TOKENS = np.random.default_rng(0).integers(1, 300, 10_000)


def tokens_of(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return TOKENS[rows]


@pytest.mark.parametrize("wanted", [0, 1, 299, 300, 5_000, 600_000, int(TOKENS.sum())])
def test_as_few_rows_as_have_the_tokens(wanted: int) -> None:
    count = held_out_count("web", len(TOKENS), HeldOutAmount(tokens=wanted), tokens_of)
    rows = SourceStream.of("web", 9, len(TOKENS), count).held_out_rows(0, count)
    assert TOKENS[rows].sum() >= wanted
    assert count == 0 or TOKENS[rows[:-1]].sum() < wanted


def test_rows() -> None:
    assert held_out_count("web", 50, HeldOutAmount(rows=50), tokens_of) == 50
    with pytest.raises(MixtureError, match="51 rows of source 'web', which has 50"):
        held_out_count("web", 50, HeldOutAmount(rows=51), tokens_of)
    with pytest.raises(MixtureError, match=f"which has {TOKENS.sum()}: hold out fewer"):
        held_out_count("web", len(TOKENS), HeldOutAmount(tokens=int(TOKENS.sum()) + 1), tokens_of)


def test_by_source() -> None:
    held_out = HeldOutParameters(rows=3, by_source={"web": HeldOutAmount(tokens=8)})
    assert held_out.of("web") == HeldOutAmount(tokens=8) and held_out.of("wiki") == HeldOutAmount(rows=3)
    only = HeldOutParameters(by_source={"web": HeldOutAmount(rows=2)})
    assert only.of("wiki") == HeldOutAmount(rows=0) and only.of("web") == HeldOutAmount(rows=2)
