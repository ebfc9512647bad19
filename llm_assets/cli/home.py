"""Which project, store and Dagster instance the command line works on: those that the UI shows."""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

import typer

from llm_assets.cli.instance import prepare_instance
from llm_assets.definitions import PROJECT, default_root
from llm_assets.store.folder import Folder
from llm_assets.store.layout import Store


def find_project() -> Path:
    """The Dagster project around the working directory, or the one this package came with.

    Its folder can be imported from afterwards, as `dagster dev` arranges it. Raises typer.BadParameter where there is
    none, as where the package is installed without the demonstration around it.
    """
    here = Path.cwd()
    found = next((folder for folder in (here, *here.parents, PROJECT) if _is_project(folder)), None)
    if found is None:
        raise typer.BadParameter(
            f"{here} is in no project: go to a folder whose pyproject.toml has a table [tool.dg.project]"
        )
    if str(found) not in sys.path:
        sys.path.insert(0, str(found))
    return found


def _is_project(folder: Path) -> bool:
    file = folder / "pyproject.toml"
    return file.is_file() and "project" in tomllib.loads(file.read_text()).get("tool", {}).get("dg", {})


def open_store(project: Path) -> Store:
    """The store of a project: at `$LLM_ASSETS_ROOT`, or in its folder `data`."""
    return Store(Folder(default_root(project)))


def ensure_dagster_home(project: Path) -> Path:
    """`$DAGSTER_HOME`; where it is not set, `<project>/.dagster` with the project's `dagster.yaml`."""
    given = os.environ.get("DAGSTER_HOME")
    home = Path(given) if given else project / ".dagster"
    home.mkdir(parents=True, exist_ok=True)
    if not given and not (home / "dagster.yaml").exists():
        (home / "dagster.yaml").symlink_to(project / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(home)
    prepare_instance(home)
    return home
