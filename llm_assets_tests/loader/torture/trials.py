"""How many trials, and from which seed: `make torture` runs all, `make test` a tenth."""

from __future__ import annotations

import os
import random

FULL = os.environ.get("LLM_ASSETS_TORTURE") == "full"


def trials(full: int) -> int:
    """Trials of a test that has so many in full."""
    return full if FULL else max(1, full // 10)


def seed() -> int:
    """LLM_ASSETS_TORTURE_SEED, or a new one; printed, so that a trial can be repeated."""
    chosen = int(os.environ.get("LLM_ASSETS_TORTURE_SEED", random.SystemRandom().randrange(10**6)))
    print(f"\nseed {chosen}")
    return chosen
