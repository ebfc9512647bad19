"""Sensors: what lands becomes a partition and a run, and a mixture whose sources are up to date a new version."""

import os
from collections.abc import Iterator
from typing import Any

import dagster as dg

from llm_assets.components.stage_asset import asset_key
from llm_assets.contract.link import Link, MissingInputError, State
from llm_assets.project import unsettled
from llm_assets.resources.data_store import DataStore
from llm_assets.stages.mix.link import MixedLink
from llm_assets.store.layout import Store
from llm_assets.store.manifest import partition_name


def seconds_between_ticks() -> int:
    """How often sensors look: `$LLM_ASSETS_SENSOR_SECONDS`, 15 by default. Dagster itself does no better than 5."""
    return int(os.environ.get("LLM_ASSETS_SENSOR_SECONDS", "15"))


def landing_sensor(last: Link[Any]) -> dg.SensorDefinition:
    """Adds a partition for each snapshot that is complete, and requests the run of `raw`.

    `last` is the last link of the source. Also requests anew what was made from partitions of the same set that have
    changed since, as verdicts against earlier snapshots.
    """
    raw, partitions = last.lineage[0], last.partitions
    assert partitions is not None
    definition = dg.DynamicPartitionsDefinition(name=partitions.name)

    @dg.sensor(
        name=f"{raw.owner}_landing",
        description=f"Watches the landing folder of {raw.owner}: a snapshot is complete when _SUCCESS is there.",
        asset_selection=dg.AssetSelection.groups(raw.owner),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=seconds_between_ticks(),
    )
    def landing(context: dg.SensorEvaluationContext, data_store: DataStore) -> dg.SensorResult | dg.SkipReason:
        store = data_store.store
        arrivals = partitions.register(store)
        if arrivals.message:
            context.log.warning(arrivals.message)
        known = set(context.instance.get_dynamic_partitions(partitions.name))
        new = [name for name in arrivals.keys if name not in known]
        requests = [*_reads(raw, store, arrivals.keys), *_changed(last, store, arrivals.keys)]
        if not new and not requests:
            return dg.SkipReason("; ".join(filter(None, ["nothing new has landed", arrivals.message])))
        return dg.SensorResult(
            run_requests=requests,
            dynamic_partitions_requests=[definition.build_add_request(new)] if new else [],
        )

    return landing


def _reads(raw: Link[Any], store: Store, snapshots: tuple[str, ...]) -> Iterator[dg.RunRequest]:
    """A run of `raw` for each snapshot that is not read as it lies there now; the run key asks only once."""
    for snapshot in snapshots:
        if raw.state(store, snapshot) in (State.MISSING, State.STALE) and (key := raw.fingerprint(store, snapshot)):
            yield dg.RunRequest(
                run_key=f"{partition_name(raw.asset, snapshot)}:{key}",
                partition_key=snapshot,
                asset_selection=[asset_key(raw.asset)],
            )


def _changed(last: Link[Any], store: Store, snapshots: tuple[str, ...]) -> Iterator[dg.RunRequest]:
    """A run from the first link on whose inputs of other partitions have changed, while its own are the same."""
    chain = last.lineage
    for snapshot in snapshots:
        for place, link in enumerate(chain[1:], 1):
            manifest, key = link.committed(store, snapshot), link.fingerprint(store, snapshot)
            if manifest is None or key is None or manifest.fingerprint == key:
                continue
            own = partition_name(chain[place - 1].asset, snapshot)
            if link.inputs(store, snapshot)[own].digest == manifest.inputs[own].digest:
                yield dg.RunRequest(
                    run_key=f"{partition_name(link.asset, snapshot)}:{key}",
                    partition_key=snapshot,
                    asset_selection=[asset_key(each.asset) for each in chain[place:]],
                )
            break


def versions_sensor(mixed: MixedLink) -> dg.SensorDefinition:
    """Registers a new version when every source is up to date and something has changed, and requests its run."""
    partitions = dg.DynamicPartitionsDefinition(name=mixed.partitions.name)

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
            (version,) = mixed.partitions.register(store).keys
        except MissingInputError as error:
            return dg.SkipReason(str(error))
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
