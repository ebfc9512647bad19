"""The instance's SQLite files, made whole before anything uses them.

Dagster takes a database file that exists for a complete one, but creates its tables one after the other: killed in
between, the instance would stay broken. Here the files are made in a folder of their own and moved into place.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import dagster as dg
import psutil
import yaml

_COMPLETE = "history"
"""The last folder that is moved: where it is there, so are the others."""


def prepare_instance(home: Path) -> None:
    """Make the SQLite files of a new `$DAGSTER_HOME`, all or none. Other storages look after themselves."""
    if (home / _COMPLETE).exists() or _is_elsewhere(home / "dagster.yaml"):
        return
    for left in home.glob(".new-*"):
        if not psutil.pid_exists(int(left.name.split("-")[1])):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=home, prefix=f".new-{os.getpid()}-") as fresh:
        with dg.DagsterInstance.from_config(fresh) as instance:
            instance.get_dynamic_partitions("any")
            instance.get_runs(limit=1)
            instance.all_instigator_state()
        made = [path for path in Path(fresh).iterdir() if path.is_dir()]
        for folder in sorted(made, key=lambda path: path.name == _COMPLETE):
            if not (home / folder.name).exists():
                folder.rename(home / folder.name)


def _is_elsewhere(config: Path) -> bool:
    """Whether the configuration names storages of its own."""
    if not config.exists():
        return False
    configured = yaml.safe_load(config.read_text()) or {}
    return any(name.endswith("storage") for name in configured)
