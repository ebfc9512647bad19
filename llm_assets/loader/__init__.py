"""What a trainer imports: `TokenLoader`, which reads a shard set batch by batch."""

from llm_assets.loader.token_loader import (
    DigestMismatchError,
    LoaderStateError,
    TokenLoader,
    WorkerProcessError,
)

__all__ = ["DigestMismatchError", "LoaderStateError", "TokenLoader", "WorkerProcessError"]
