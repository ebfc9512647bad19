"""The trainer's interface: `TokenLoader`, which reads a shard set batch by batch, and masks for attention."""

from llm_assets.loader.fields import IGNORED, Batch, Dtype, Field
from llm_assets.loader.masks import flash_arguments, flex_mask_mod, sdpa_mask
from llm_assets.loader.ranks import Ranks
from llm_assets.loader.state import DigestMismatchError, LoaderStateError
from llm_assets.loader.stats import LoaderStats
from llm_assets.loader.token_loader import LoaderExhaustedError, TokenLoader
from llm_assets.loader.workers import WorkerProcessError

__all__ = [
    "IGNORED",
    "Batch",
    "DigestMismatchError",
    "Dtype",
    "Field",
    "LoaderExhaustedError",
    "LoaderStateError",
    "LoaderStats",
    "Ranks",
    "TokenLoader",
    "WorkerProcessError",
    "flash_arguments",
    "flex_mask_mod",
    "sdpa_mask",
]
