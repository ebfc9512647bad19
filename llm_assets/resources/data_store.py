"""The data store and the engine, as Dagster configures them."""

import os

import dagster as dg

from llm_assets.contract.engine import LocalEngine
from llm_assets.store.folder import Folder
from llm_assets.store.layout import Store


class DataStore(dg.ConfigurableResource[None]):
    """Where all data lives: a path or fsspec URI."""

    root: str

    @property
    def store(self) -> Store:
        """The store below the root."""
        return Store(Folder(self.root))


class Engine(dg.ConfigurableResource[None]):
    """Parallel work inside an asset: this many threads; 0 means one for each processor."""

    workers: int = 0

    @property
    def engine(self) -> LocalEngine:
        """The engine."""
        return LocalEngine(self.workers or os.cpu_count() or 1)
