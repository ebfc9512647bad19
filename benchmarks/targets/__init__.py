"""The comparisons: one module for each target, listed here."""

from __future__ import annotations

from benchmarks.targets.chain import CHAIN
from benchmarks.targets.cleaning import CLEANING
from benchmarks.targets.loader import LOADER
from benchmarks.targets.pii import PII
from benchmarks.targets.step import STEP

TARGETS = {target.name: target for target in [CHAIN, CLEANING, LOADER, PII, STEP]}
