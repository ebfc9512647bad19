"""`llm-assets run`: everything that brings mixtures up to date, through the definitions and the instance of the UI.

Guarantees that what is up to date is not made again, that a failed partition does not keep others from being made,
and that a run which was killed leaves nothing that the next one cannot repair.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import psutil

from llm_assets.components.project import Project
from llm_assets.components.stage_asset import asset_key
from llm_assets.contract.link import Link, MissingInputError, State
from llm_assets.project import register_arrivals
from llm_assets.stages.clean.quality.link import QualityModelLink
from llm_assets.stages.mix.link import MixedLink
from llm_assets.stages.pack.link import PackedLink
from llm_assets.stages.read.link import RawLink
from llm_assets.store.layout import Store

PROCESS_TAG = "llm_assets/process"
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

Step = Callable[[str], AbstractContextManager[object]]
"""Shows that something is being made while the context is open."""


@dataclass
class Runner:
    """Makes what is missing, stale or refused. Failures are collected in `failures`, by partition."""

    project: Project
    definitions: dg.Definitions
    instance: dg.DagsterInstance
    store: Store
    step: Step
    failures: dict[str, str] = field(default_factory=dict[str, str])
    notes: list[str] = field(default_factory=list[str])
    made: int = 0

    def bring_up_to_date(
        self, mixtures: Sequence[MixedLink], sources: Sequence[PackedLink], models: Sequence[QualityModelLink]
    ) -> None:
        """Make every partition of the models, the sources and their tokenizers that needs it, then the mixtures."""
        self._fail_orphaned_runs()
        raws = [packed.tokenized.deduped.cleaned.raw for packed in sources]
        trained_on = [raw for model in models for raw in model.sources]
        for raw in {raw.source: raw for raw in (*raws, *trained_on)}.values():
            self._register(raw)
        for raw in {raw.source: raw for raw in trained_on}.values():
            for snapshot in self.store.order(raw.source).names():
                self._make([raw], snapshot)
        for model in models:
            self._make([model], "")
        for packed, snapshot in self._snapshots(sources):
            deduped = packed.tokenized.deduped
            self._make([deduped.cleaned.raw, deduped.cleaned, deduped], snapshot)
        for tokenizer in {packed.tokenized.tokenizer.name: packed.tokenized.tokenizer for packed in sources}.values():
            self._make([tokenizer], "")
        for packed, snapshot in self._snapshots(sources):
            if packed.tokenized.deduped.committed(self.store, snapshot) is not None:
                self._make([packed.tokenized, packed], snapshot)
        for mixed in mixtures:
            self._make_version(mixed)

    def _register(self, raw: RawLink) -> None:
        arrivals = register_arrivals(raw, self.store)
        self.notes += [f"{raw.source}: {arrivals.message}"] if arrivals.message else []
        if not arrivals.snapshots:
            folder = (raw.landing_folder(self.store) / raw.source).uri
            self.notes.append(f"{raw.source}: nothing has landed in {folder}")
        self._add_partitions(f"{raw.source}/snapshots", arrivals.snapshots)

    def _add_partitions(self, definition: str, keys: Sequence[str]) -> None:
        known = set(self.instance.get_dynamic_partitions(definition))
        new = [key for key in keys if key not in known]
        if new:
            self.instance.add_dynamic_partitions(definition, new)

    def _snapshots(self, sources: Sequence[PackedLink]) -> Iterator[tuple[PackedLink, str]]:
        for packed in sources:
            for snapshot in self.store.order(packed.source).names():
                yield packed, snapshot

    def _make_version(self, mixed: MixedLink) -> None:
        try:
            recipe = mixed.recipe(self.store)
        except MissingInputError as error:
            self.failures[mixed.asset] = str(error)
            return
        version = mixed.versions(self.store).register(recipe)
        self._add_partitions(f"{mixed.name}/versions", [version])
        self._make([mixed], version)
        smoke_train = self.project.smoke_trains.get(mixed.name)
        if smoke_train is not None and mixed.committed(self.store, version) is not None:
            self._make([smoke_train], version)

    def _make(self, links: Sequence[Link[Any]], partition: str) -> None:
        """One run of the links, from the first that is not up to date on."""
        needed = [place for place, link in enumerate(links) if not self._is_up_to_date(link, partition)]
        if not needed:
            return
        chosen = links[needed[0] :]
        name = f"{chosen[0].asset}[{partition}]" if partition else chosen[0].asset
        try:
            chosen[0].inputs(self.store, partition)
        except MissingInputError as error:
            self.failures[name] = str(error)
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
            self.failures[name] = _why(result)

    @property
    def _job(self) -> dg.JobDefinition:
        return self.definitions.resolve_implicit_global_asset_job_def()

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


def models_of(sources: Sequence[PackedLink]) -> list[QualityModelLink]:
    """The models that score documents of these sources."""
    models = [model for packed in sources for model in packed.tokenized.deduped.cleaned.models]
    return list({model.name: model for model in models}.values())


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


def _why(result: dg.ExecuteInProcessResult) -> str:
    """The first failure of a run, as its asset put it."""
    for event in result.all_events:
        if event.is_step_failure:
            failure = event.step_failure_data
            if failure.user_failure_data is not None and failure.user_failure_data.description:
                return failure.user_failure_data.description
            error = failure.error
            while error is not None and error.cause is not None:
                error = error.cause
            return (error.message if error else "").strip() or "the run failed; the UI shows why"
    return "the run failed; the UI shows why"
