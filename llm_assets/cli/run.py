"""`llm-assets run`: everything that brings mixtures up to date, through the definitions and the instance of the UI.

Guarantees that what is up to date is not made again, that a failed partition does not keep others from being made,
and that a run which was killed leaves nothing that the next one cannot repair.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import dagster as dg
import psutil

from llm_assets.components.stage_asset import asset_key
from llm_assets.contract.link import Link, MissingInputError, Partitions, State
from llm_assets.project import units
from llm_assets.store.layout import Store
from llm_assets.store.manifest import partition_name

PROCESS_TAG = "llm_assets/process"
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

Step = Callable[[str], AbstractContextManager[object]]
"""Shows that something is being made while the context is open."""


@dataclass
class Runner:
    """Makes what is missing, stale or refused. Failures are collected in `failures`, by partition.

    `definitions` makes the definitions, which takes a third of a second; it is asked when something has to be made.
    """

    definitions: Callable[[], dg.Definitions]
    instance: dg.DagsterInstance
    store: Store
    step: Step
    failures: dict[str, str] = field(default_factory=dict[str, str])
    notes: list[str] = field(default_factory=list[str])
    made: int = 0

    def bring_up_to_date(self, links: Sequence[Link[Any]]) -> None:
        """Make every partition of the links that needs it. The links come after those that they are made from."""
        self._fail_orphaned_runs()
        registered: dict[str, tuple[str, ...]] = {}
        for unit in units(links):
            partitions = unit[0].partitions
            if partitions is not None and partitions.name not in registered:
                registered[partitions.name] = self._register(unit[0], partitions)
            for key in ("",) if partitions is None else registered[partitions.name]:
                self._make(unit, key)

    def _register(self, link: Link[Any], partitions: Partitions) -> tuple[str, ...]:
        """The keys that are to be up to date; none where there cannot be any yet."""
        try:
            arrivals = partitions.register(self.store)
        except MissingInputError as error:
            self.failures[link.asset] = str(error)
            return ()
        said = (arrivals.message, "" if arrivals.keys else partitions.where(self.store))
        self.notes += [f"{link.owner}: {each}" for each in said if each]
        known = set(self.instance.get_dynamic_partitions(partitions.name))
        new = [key for key in arrivals.keys if key not in known]
        if new:
            self.instance.add_dynamic_partitions(partitions.name, new)
        return arrivals.keys

    def _make(self, unit: Sequence[Link[Any]], partition: str) -> None:
        """One run of the links, from the first that is not up to date on."""
        if any(each.committed(self.store, partition) is None for each in unit[0].lineage[:-1]):
            return  # the run that should have made it has failed, and said so
        needed = [place for place, link in enumerate(unit) if not self._is_up_to_date(link, partition)]
        if not needed:
            return
        chosen = unit[needed[0] :]
        try:
            chosen[0].inputs(self.store, partition)
        except MissingInputError as error:
            self.failures[partition_name(chosen[0].asset, partition)] = str(error)
            return
        with self.step(f"{_path(chosen)}  {partition}"):
            result = self._job.execute_in_process(
                run_config=_QUIET,
                instance=self.instance,
                partition_key=partition or None,
                asset_selection=[asset_key(link.asset) for link in chosen],
                tags={PROCESS_TAG: _process_tag()},
                raise_on_error=False,
            )
        self.made += len(chosen)
        if not result.success:
            asset, why = _failure(result)
            self.failures[partition_name(asset or chosen[0].asset, partition)] = why

    @cached_property
    def _job(self) -> dg.JobDefinition:
        return self.definitions().resolve_implicit_global_asset_job_def()

    def _is_up_to_date(self, link: Link[Any], partition: str) -> bool:
        """Whether the partition is committed and current, and the instance knows of that very content."""
        manifest = link.committed(self.store, partition)
        if manifest is None or link.state(self.store, partition) is not State.CURRENT:
            return False
        record = self.instance.get_latest_data_version_record(asset_key(link.asset), partition_key=partition or None)
        materialization = record.asset_materialization if record else None
        tags = (materialization.tags or {}) if materialization else {}
        return tags.get("dagster/data_version") == manifest.digest

    def _fail_orphaned_runs(self) -> None:
        """Runs that a killed command line of this machine left behind would look running for ever."""
        going = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
        for run in self.instance.get_runs(dg.RunsFilter(statuses=going)):
            tag = run.tags.get(PROCESS_TAG)
            if tag is not None and _is_dead(tag):
                self.instance.report_run_failed(run, "The process that executed this run is gone.")


def _path(links: Sequence[Link[Any]]) -> str:
    """`docs/raw → cleaned → deduped`."""
    return " → ".join([links[0].asset, *(link.asset.split("/")[-1] for link in links[1:])])


def _process_tag() -> str:
    process = psutil.Process(os.getpid())
    return f"{socket.gethostname()}/{process.pid}/{process.create_time():.2f}"


def _is_dead(tag: str) -> bool:
    host, pid, started = tag.rsplit("/", 2)
    if host != socket.gethostname():
        return False
    try:
        return f"{psutil.Process(int(pid)).create_time():.2f}" != started
    except psutil.NoSuchProcess:
        return True


def _failure(result: dg.ExecuteInProcessResult) -> tuple[str, str]:
    """The asset whose step failed first, and why, as the asset put it."""
    for event in result.all_events:
        if event.is_step_failure:
            failure = event.step_failure_data
            step = (event.step_key or "").replace("__", "/")
            if failure.user_failure_data is not None and failure.user_failure_data.description:
                return step, failure.user_failure_data.description
            error = failure.error
            while error is not None and error.cause is not None:
                error = error.cause
            return step, (error.message if error else "").strip() or "the run failed; the UI shows why"
    return "", "the run failed; the UI shows why"
