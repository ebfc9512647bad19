"""The version of a cleaned partition: all that its rows depend on but for the documents and named files."""

from __future__ import annotations

from llm_assets.contract.stage import code_version
from llm_assets.kernels.unicode_classes import UNICODE_VERSION
from llm_assets.stages.clean import VERSION
from llm_assets.stages.clean.language.language import bundled_digest
from llm_assets.stages.clean.parameters import CleanParameters


def stage_version(parameters: CleanParameters) -> str:
    """Version of the code, its parameters, the running Python's Unicode tables and the bundled language model."""
    language = parameters.language
    model = f"-lid{bundled_digest()}" if language is not None and language.model is None else ""
    return code_version(f"{VERSION}-unicode{UNICODE_VERSION}{model}", parameters)
