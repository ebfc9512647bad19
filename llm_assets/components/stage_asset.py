"""The one place that turns a link of the chain into an asset that is staged, checked, then committed.

Guarantees that a partition that fails a blocking check is never committed: its check results are recorded, what
was staged is deleted, and the run fails, so no other run ever reads it.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from llm_assets.contract.link import Check, Link, Outcome, Work
from llm_assets.resources.data_store import DataStore, Engine
from llm_assets.store.manifest import Staged
from llm_assets.store.refusals import Refusal

AnyLink = Link[Any]

MADE_ONCE = (
    dg.AutomationCondition.missing()
    & dg.AutomationCondition.all_deps_match(~dg.AutomationCondition.missing())
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
    & ~dg.AutomationCondition.execution_failed()
).with_label("made once, when every source it is trained on has a snapshot")
"""When what is trained on sources, and then frozen, is made."""


@dataclass(frozen=True)
class AssetFacts:
    """Owners, tags and description that a declaration gives its assets; the link has the rest."""

    description: str = ""
    owners: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


def asset_key(asset: str) -> dg.AssetKey:
    """`docs/raw` → its key."""
    return dg.AssetKey(asset.split("/"))


def partitions_of(link: AnyLink) -> dg.DynamicPartitionsDefinition | None:
    """Dagster's definition of a link's partitions."""
    return None if link.partitions is None else dg.DynamicPartitionsDefinition(name=link.partitions.name)


def link_asset(link: AnyLink, facts: AssetFacts) -> dg.AssetsDefinition:
    """The asset of a link."""

    @dg.asset(
        key=asset_key(link.asset),
        deps=[_dependency(link, upstream) for upstream in link.upstream],
        partitions_def=partitions_of(link),
        group_name=link.asset.split("/")[0],
        description=f"{link.summary}\n\n{facts.description}".strip(),
        kinds=set(link.kinds),
        owners=list(facts.owners),
        tags=dict(facts.tags),
        code_version=link.code_version,
        automation_condition=_automation(link),
        io_manager_key="io_manager",
        check_specs=[_spec(link, check) for check in link.checks],
    )
    def made(
        context: dg.AssetExecutionContext, data_store: DataStore, engine: Engine
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Staged]]:
        partition = context.partition_key if context.has_partition_key else ""
        yield from _materialize(link, Work(data_store.store, engine.engine, partition, context.log.info))

    return made


def _dependency(link: AnyLink, upstream: AnyLink) -> dg.AssetDep:
    """Partitions of one set are made of each other key by key, all others of all."""
    if link.partitions == upstream.partitions:
        return dg.AssetDep(asset_key(upstream.asset))
    return dg.AssetDep(asset_key(upstream.asset), partition_mapping=dg.AllPartitionMapping())


def _automation(link: AnyLink) -> dg.AutomationCondition[Any] | None:
    """Made once without partitions, eagerly where another asset defines the keys; sensors request the rest."""
    if link.partitions is None:
        return MADE_ONCE
    return dg.AutomationCondition.eager() if len(link.lineage) > 1 else None


def _materialize(link: AnyLink, work: Work) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Staged]]:
    begun = time.perf_counter()
    staged: Staged = link.make(work)
    seconds = time.perf_counter() - begun
    try:
        outcomes = list(link.check(staged, work.store))
        for outcome in outcomes:
            yield _result(link, outcome)
        _refuse_failed(link, staged, work, outcomes)
        from llm_assets.components.presentation.metadata import partition_metadata  # only who makes something needs it

        metadata = partition_metadata(staged.manifest, link.describe(staged, work.store), staged.uri, seconds)
    except BaseException:
        staged.discard()
        raise
    # Outside the try: Dagster has the IO manager commit while this generator waits here, and may close it then.
    yield dg.MaterializeResult(value=staged, metadata=metadata, data_version=dg.DataVersion(staged.manifest.digest))


def _refuse_failed(link: AnyLink, staged: Staged, work: Work, outcomes: Sequence[Outcome]) -> None:
    """Raise dg.Failure where a blocking check failed, and record why."""
    blocking = {check.name for check in link.checks if check.blocking}
    failed = {o.check: o.message for o in outcomes if not o.passed and o.check in blocking}
    if not failed:
        return
    manifest = staged.manifest
    work.store.refusals.record(Refusal(manifest.asset, manifest.partition, manifest.fingerprint, failed))
    name = f"{manifest.asset}[{manifest.partition}]" if manifest.partition else manifest.asset
    raise dg.Failure(
        f"{name} was not committed, since it failed "
        + "; ".join(f"{check} ({message})" for check, message in failed.items()),
        metadata=dict[str, Any](failed),
        allow_retries=False,
    )


def _spec(link: AnyLink, check: Check) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        check.name, asset=asset_key(link.asset), description=check.description, blocking=check.blocking
    )


def _result(link: AnyLink, outcome: Outcome) -> dg.AssetCheckResult:
    check = next(check for check in link.checks if check.name == outcome.check)
    return dg.AssetCheckResult(
        check_name=check.name,
        asset_key=asset_key(link.asset),
        passed=outcome.passed,
        severity=dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN,
        description=outcome.message,
        metadata=dict(outcome.details),
    )
