"""Parameters of deduplication, as a source's YAML gives them."""

from __future__ import annotations

from llm_assets.contract.stage import Parameters, code_version
from llm_assets.stages.dedup import VERSION


class DedupParameters(Parameters):
    """Exact deduplication has nothing to choose."""


def stage_version(parameters: DedupParameters) -> str:
    """Version of the code and its parameters, whatever the index."""
    return code_version(VERSION, parameters)
