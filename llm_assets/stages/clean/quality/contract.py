"""The interface of quality models to their users."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from llm_assets.errors import LlmAssetsError


class QualityModelError(LlmAssetsError, ValueError):
    """A model that cannot be made, read or used as it is declared: says which and why."""


class Scorer(Protocol):
    """A quality model that is ready to score. May be used by several threads at once."""

    @property
    def digest(self) -> str:
        """Digest of the model: belongs in the version of what it scores."""
        ...

    def score(self, texts: pa.LargeStringArray) -> npt.NDArray[np.float64]:
        """How good each text is, 0 to 1: the probability of the good label, float64 [documents].

        Raises TypeError for another type than `large_string`, ValueError where a text is null.
        """
        ...
