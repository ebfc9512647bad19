"""The IO manager: commits what an asset staged, and opens what is committed.

Guarantees that the commit is the last thing a run does for a partition, after its checks. Passes references, never
data: an asset that takes a partition as input gets a handle that it reads from.
"""

from typing import Any, Protocol, runtime_checkable

import dagster as dg

from llm_assets.errors import LlmAssetsError
from llm_assets.project import Project
from llm_assets.resources.data_store import DataStore
from llm_assets.resources.loader import LoaderResource
from llm_assets.store.manifest import Staged, partition_name


class NotCommittedError(LlmAssetsError, LookupError):
    """An input that has no committed partition."""


class NotStagedError(LlmAssetsError, TypeError):
    """An output that this IO manager cannot keep."""


@runtime_checkable
class _Staged(Staged, Protocol):
    """A staged partition, known by what it has."""


class PartitionIOManager(dg.IOManager):
    """Commits staged partitions and opens committed ones.

    A downstream asset gets the handle of the link: a `CommittedSnapshot` of `raw` and `cleaned`, `JudgedDocuments` of
    `deduped`, a `TokenSet` of `tokenized`, a `ShardSet` of `packed`, a `StoredTokenizer` of a tokenizer, a
    `StoredReport` of `smoke_train`. Of a mixture it gets a `TokenLoader`, as the loader resource configures it. Of
    several partitions: a dict by partition key. Of assets and ops that return nothing, nothing is kept.
    """

    def __init__(self, project: Project, data_store: DataStore, loader: LoaderResource) -> None:
        self._project, self._data_store, self._loader = project, data_store, loader

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Make the staged partition what readers see. Raises NotStagedError for a value that is none."""
        if obj is None:  # of somebody else's asset or op, which keeps its own results
            return
        if not isinstance(obj, _Staged):
            raise NotStagedError(
                f"{context.step_key} returns a {type(obj).__name__}: this IO manager commits staged partitions "
                "alone. Return None or a MaterializeResult, or name another io_manager_key"
            )
        obj.commit()
        self._data_store.store.refusals.clear(obj.manifest.asset, obj.manifest.partition)

    def load_input(self, context: dg.InputContext) -> Any:
        """A handle to the committed partition, or a dict of them by partition key where there are several."""
        asset = "/".join(context.asset_key.path)
        if not context.has_asset_partitions:
            return self._open(asset, "")
        keys = list(context.asset_partition_keys)
        handles = {key: self._open(asset, key) for key in keys}
        return handles[keys[0]] if len(keys) == 1 else handles

    def _open(self, asset: str, partition: str) -> Any:
        link = self._project.links.get(asset)
        if link is None:
            raise NotCommittedError(f"{asset} is no asset that this project declares", "name another io_manager_key")
        handle: Any = link.open(self._data_store.store, partition)
        if handle is None:
            name = partition_name(asset, partition)
            raise NotCommittedError(f"{name} has no committed data: materialize it first")
        return self._loader.open(handle) if link.for_training else handle


def partition_io_manager(project: Project) -> dg.IOManagerDefinition:
    """The IO manager of a project, which uses the resources `data_store` and `loader`."""

    def made(context: dg.InitResourceContext) -> PartitionIOManager:
        return PartitionIOManager(project, context.resources.data_store, context.resources.loader)

    return dg.IOManagerDefinition(
        resource_fn=made,
        required_resource_keys={"data_store", "loader"},
        description="Commits staged partitions and opens committed ones.",
    )
