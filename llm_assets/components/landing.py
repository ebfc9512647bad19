"""Sensors: what lands becomes a partition and a run, and a mixture whose sources are up to date a new version."""

import os
from collections.abc import Iterator

import dagster as dg

from llm_assets.components.stage_asset import asset_key
from llm_assets.contract.link import MissingInputError, State
from llm_assets.project import register_arrivals, unsettled
from llm_assets.resources.data_store import DataStore
from llm_assets.stages.mix.link import MixedLink
from llm_assets.stages.pack.link import PackedLink
from llm_assets.store.layout import Store


def seconds_between_ticks() -> int:
    """How often sensors look: `$LLM_ASSETS_SENSOR_SECONDS`, 15 by default. Dagster itself does no better than 5."""
    return int(os.environ.get("LLM_ASSETS_SENSOR_SECONDS", "15"))


def landing_sensor(packed: PackedLink, partitions: dg.DynamicPartitionsDefinition) -> dg.SensorDefinition:
    """Adds a partition for each snapshot that is complete, and requests the run of `raw`.

    Also requests new verdicts for snapshots that were judged against earlier ones that have changed since.
    """
    raw = packed.tokenized.deduped.cleaned.raw

    @dg.sensor(
        name=f"{raw.source}_landing",
        description=f"Watches the landing folder of {raw.source}: a snapshot is complete when _SUCCESS is there.",
        asset_selection=dg.AssetSelection.groups(raw.source),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=seconds_between_ticks(),
    )
    def landing(context: dg.SensorEvaluationContext, data_store: DataStore) -> dg.SensorResult | dg.SkipReason:
        store = data_store.store
        arrivals = register_arrivals(raw, store)
        if arrivals.message:
            context.log.warning(arrivals.message)
        known = set(context.instance.get_dynamic_partitions(str(partitions.name)))
        new = [name for name in arrivals.snapshots if name not in known]
        requests = [*_reads(packed, store, arrivals.snapshots), *_verdicts(packed, store, arrivals.snapshots)]
        if not new and not requests:
            return dg.SkipReason("; ".join(filter(None, ["nothing new has landed", arrivals.message])))
        return dg.SensorResult(
            run_requests=requests,
            dynamic_partitions_requests=[partitions.build_add_request(new)] if new else [],
        )

    return landing


def _reads(packed: PackedLink, store: Store, snapshots: tuple[str, ...]) -> Iterator[dg.RunRequest]:
    """A run of `raw` for each snapshot that is not read as it lies there now; the run key asks only once."""
    raw = packed.tokenized.deduped.cleaned.raw
    for snapshot in snapshots:
        if raw.state(store, snapshot) in (State.MISSING, State.STALE) and (key := raw.fingerprint(store, snapshot)):
            yield dg.RunRequest(
                run_key=f"{raw.asset}[{snapshot}]:{key}",
                partition_key=snapshot,
                asset_selection=[asset_key(raw.asset)],
            )


def _verdicts(packed: PackedLink, store: Store, snapshots: tuple[str, ...]) -> Iterator[dg.RunRequest]:
    """A run from `deduped` on for each snapshot whose own text is unchanged but whose earlier snapshots are not."""
    deduped = packed.tokenized.deduped
    for snapshot in snapshots:
        manifest, key = deduped.committed(store, snapshot), deduped.fingerprint(store, snapshot)
        if manifest is None or key is None or manifest.fingerprint == key:
            continue
        own = f"{deduped.cleaned.asset}[{snapshot}]"
        if deduped.inputs(store, snapshot)[own].digest == manifest.inputs[own].digest:
            yield dg.RunRequest(
                run_key=f"{deduped.asset}[{snapshot}]:{key}",
                partition_key=snapshot,
                asset_selection=[asset_key(link.asset) for link in (deduped, packed.tokenized, packed)],
            )


def versions_sensor(mixed: MixedLink, partitions: dg.DynamicPartitionsDefinition) -> dg.SensorDefinition:
    """Registers a new version when every source is up to date and something has changed, and requests its run."""

    @dg.sensor(
        name=f"{mixed.name}_versions",
        description=f"Makes a new version of {mixed.name} when its sources are up to date and have changed.",
        asset_selection=dg.AssetSelection.assets(asset_key(mixed.asset)),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=seconds_between_ticks(),
    )
    def versions(context: dg.SensorEvaluationContext, data_store: DataStore) -> dg.SensorResult | dg.SkipReason:
        store = data_store.store
        waiting = list(unsettled(mixed, store))
        if waiting:
            return dg.SkipReason(f"not all sources are up to date: {', '.join(waiting)}")
        try:
            recipe = mixed.recipe(store)
        except MissingInputError as error:
            return dg.SkipReason(str(error))
        version = mixed.versions(store).register(recipe)
        if mixed.state(store, version) is State.CURRENT:
            return dg.SkipReason(f"{version} is made of what there is now")
        known = context.instance.get_dynamic_partitions(str(partitions.name))
        return dg.SensorResult(
            run_requests=[
                dg.RunRequest(
                    run_key=f"{mixed.asset}[{version}]",
                    partition_key=version,
                    asset_selection=[asset_key(mixed.asset)],
                )
            ],
            dynamic_partitions_requests=[] if version in known else [partitions.build_add_request([version])],
        )

    return versions
