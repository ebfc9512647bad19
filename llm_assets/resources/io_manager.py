"""The IO manager: commits what an asset staged, and opens what is committed.

Guarantees that the commit is the last thing a run does for a partition, after its checks. Passes references, never
data: an asset that takes a partition as input gets a handle that it reads from.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import dagster as dg

from llm_assets.contract.shard_partition import open_shards
from llm_assets.resources.data_store import DataStore
from llm_assets.resources.loader import LoaderResource
from llm_assets.stages.clean.stage import CLEANED_SCHEMA
from llm_assets.stages.dedup.link import open_deduped
from llm_assets.stages.read.stage import RAW_SCHEMA
from llm_assets.store.layout import Store
from llm_assets.store.manifest import Staged
from llm_assets.store.reports import StoredReport
from llm_assets.store.token_set import TokenSet
from llm_assets.store.tokenizers import StoredTokenizer


class NotCommittedError(LookupError):
    """An input that has no committed partition."""


class NotStagedError(TypeError):
    """An output that this IO manager cannot keep."""


@runtime_checkable
class _Staged(Staged, Protocol):
    """A staged partition, known by what it has."""


class PartitionIOManager(dg.ConfigurableIOManager):
    """Commits staged partitions and opens committed ones.

    What a downstream asset gets: of `raw` and `cleaned` a `CommittedSnapshot`, of `deduped` a `DedupedDocuments`, of
    `tokenized` a `TokenSet`, of `packed` a `ShardSet`, of a tokenizer a `StoredTokenizer`, of `mixed` a
    `TokenLoader` as the loader resource configures it, of `smoke_train` a `StoredReport`. Of several partitions: a
    dict by partition key. Of assets and ops that return nothing, nothing is kept.
    """

    data_store: dg.ResourceDependency[DataStore]
    loader: dg.ResourceDependency[LoaderResource]

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
        self.data_store.store.refusals.clear(obj.manifest.asset, obj.manifest.partition)

    def load_input(self, context: dg.InputContext) -> Any:
        """A handle to the committed partition, or a dict of them by partition key where there are several."""
        path = context.asset_key.path
        if not context.has_asset_partitions:
            return self._open(path, "")
        keys = list(context.asset_partition_keys)
        handles = {key: self._open(path, key) for key in keys}
        return handles[keys[0]] if len(keys) == 1 else handles

    def _open(self, path: Sequence[str], partition: str) -> Any:
        store = self.data_store.store
        if path[-1] == "mixed":
            shards = open_shards(store.version(path[0], partition))
            handle = None if shards is None else self.loader.open(shards)
        else:
            handle = _open_in_store(store, path, partition)
        if handle is None:
            raise NotCommittedError(f"{'/'.join(path)}[{partition}] has no committed data: materialize it first")
        return handle


def _open_in_store(store: Store, path: Sequence[str], partition: str) -> Any:
    first, last = path[0], path[-1]
    if first == "tokenizers":
        return StoredTokenizer.open(store.tokenizer(last))
    openers: dict[str, Callable[[], Any]] = {
        "raw": lambda: store.documents(first, "raw", RAW_SCHEMA).snapshot(partition),
        "cleaned": lambda: store.documents(first, "cleaned", CLEANED_SCHEMA).snapshot(partition),
        "deduped": lambda: (found := open_deduped(store, first, partition)) and found[1],
        "tokenized": lambda: TokenSet.open(store.tokenized(first, partition)),
        "packed": lambda: open_shards(store.packed(first, partition)),
        "smoke_train": lambda: StoredReport.open(store.report(f"{first}/{last}", partition)),
    }
    return openers[last]()
