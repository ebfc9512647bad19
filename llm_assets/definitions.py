"""The code location: every component of `llm_assets/defs`, with its resources.

`build_defs` makes the definitions of any project folder, with other resources where wanted; `defs` is what Dagster
loads of this one, and only when it loads it. A project of one's own needs no more than
`defs = build_defs(project=Path(__file__).parents[1])`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster.components.core.component_tree import ComponentTree

from llm_assets.components.declared import project_of
from llm_assets.components.landing import seconds_between_ticks
from llm_assets.resources.data_store import DataStore, Engine
from llm_assets.resources.io_manager import partition_io_manager
from llm_assets.resources.loader import LoaderResource

PROJECT = Path(__file__).parent.parent


def default_root(project: Path = PROJECT) -> str:
    """`$LLM_ASSETS_ROOT`, or the folder `data` of the project."""
    return os.environ.get("LLM_ASSETS_ROOT") or str(project / "data")


def default_resources(project: Path = PROJECT) -> dict[str, Any]:
    """The resources as the environment configures them."""
    return {
        "data_store": DataStore(root=default_root(project)),
        "engine": Engine(workers=int(os.environ.get("LLM_ASSETS_WORKERS", "0"))),
        "loader": LoaderResource(),
    }


def automation() -> dg.Definitions:
    """The sensor that evaluates automation conditions, running from the start."""
    sensor = dg.AutomationConditionSensorDefinition(
        "automation",
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=seconds_between_ticks(),
    )
    return dg.Definitions(sensors=[sensor], executor=dg.in_process_executor)


def build_defs(resources: Mapping[str, Any] | None = None, project: Path = PROJECT) -> dg.Definitions:
    """All definitions of the project folder, with some resources replaced."""
    return definitions_of(ComponentTree.for_project(project), project, resources)


def definitions_of(tree: ComponentTree, project: Path, resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """As `build_defs`, of what was read of the folder already."""
    declared = tree.build_defs()
    manager = partition_io_manager(project_of(tree))
    given = {**default_resources(project), "io_manager": manager, **(resources or {})}
    return dg.Definitions.merge(declared, automation(), dg.Definitions(resources=given))


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions that Dagster loads."""
    return build_defs()
