"""Dagster components that turn one YAML file into assets, checks, partitions and automation.

Thin: what an asset does is a link of `llm_assets.chain`.
"""

from llm_assets.components.corpus_source import CorpusSource
from llm_assets.components.mixture import Mixture
from llm_assets.components.quality_model import QualityModel
from llm_assets.components.tokenizer import Tokenizer

__all__ = ["CorpusSource", "Mixture", "QualityModel", "Tokenizer"]
