"""The version of a raw partition: all that its rows depend on but for the files that landed."""

from __future__ import annotations

from importlib.metadata import version

from llm_assets.contract.stage import code_version
from llm_assets.stages.read import VERSION
from llm_assets.stages.read.parameters import DETECT, ReadParameters


def stage_version(parameters: ReadParameters) -> str:
    """Version of the code and of the parameters; where encodings are detected, also of what detects them."""
    detector = f"-{version('charset-normalizer')}" if parameters.encoding == DETECT else ""
    return code_version(f"{VERSION}{detector}", parameters)
