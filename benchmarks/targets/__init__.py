"""What is compared with what: one module for each target, listed here."""

from __future__ import annotations

from benchmarks.targets.chain import CHAIN

TARGETS = {target.name: target for target in [CHAIN]}
