"""Counter-based random numbers for tokens: functions of seed, purpose, row of the stream and place in the row.

Guarantees the same number for the same (seed, purpose, row, place) on every device, in any batch and on any rank.
Counter-based as in Salmon et al. 2011, mixed by the finaliser of SplitMix64 (Steele, Lea and Flood 2014): good
statistics, no secrecy.
"""

from __future__ import annotations

import hashlib

import torch

_BITS = 32
"""Bits of a number: few enough that its product with a limit below 2**31 fits in an int64."""


def key(seed: int, purpose: str) -> int:
    """A key, as an int64, for one use of random numbers."""
    digest = hashlib.blake2b(f"{seed} {purpose}".encode(), digest_size=8, person=b"llm_assets.rand").digest()
    return int.from_bytes(digest, "little", signed=True)


def draw(chosen: int, rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Numbers below 2**32, int64, in the shape that `rows` and `places` (int64, of one device) broadcast to."""
    mixed = _mixed(rows + chosen)
    return _mixed(mixed + places * -7046029254386353131) >> 3 & (1 << _BITS) - 1


def happens(numbers: torch.Tensor, probability: float) -> torch.Tensor:
    """True with the given probability, exact to 2**-32: bool, in the shape of `numbers`."""
    return numbers < round(probability * (1 << _BITS))


def below(numbers: torch.Tensor, limits: torch.Tensor | int) -> torch.Tensor:
    """Numbers from 0 to a limit below 2**31 (exclusive), int64."""
    return numbers * limits >> _BITS


def _mixed(words: torch.Tensor) -> torch.Tensor:
    """The finaliser of SplitMix64. int64 wraps as uint64 does; a shift brings in copies of the sign, masked away."""
    words = (words ^ (words >> 30 & (1 << 34) - 1)) * -4658895280553007687
    words = (words ^ (words >> 27 & (1 << 37) - 1)) * -7723592293110705685
    return words ^ (words >> 31 & (1 << 33) - 1)
