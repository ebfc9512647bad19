"""What end-to-end tests talk to: the command line in subprocesses, and `dagster dev` with all its processes.

Guarantees that every place has a store and a Dagster instance of its own, and that a server which is left has no
process any more. Tests assert; this only starts, waits and stops.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
import requests

PROJECT = Path(__file__).parents[2]
SCRIPTS = Path(sys.executable).parent
FoundT = TypeVar("FoundT")


def require(found: FoundT | None, what: str) -> FoundT:
    """What was found. Where it was not, the test is skipped, and fails where CI=true: there it has to be."""
    if found is not None:
        return found
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing, and where CI=true no test may be left out")
    pytest.skip(f"{what} is missing")


def wait_for(what: str, found: Callable[[], FoundT | None], seconds: float, every: float = 0.5) -> FoundT:
    """What `found` gives, as soon as it is not None."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = found()
        if value is not None:
            return value
        time.sleep(every)
    pytest.fail(f"waited {seconds:.0f} s for {what}")


@dataclass(frozen=True)
class Place:
    """A store and a Dagster instance below a folder, and the environment in which commands use them."""

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict[str, str])

    @staticmethod
    def make(folder: Path, **settings: str) -> Place:
        """A new one, with the `dagster.yaml` of the project."""
        place = Place(folder, settings)
        place.home.mkdir(parents=True)
        shutil.copy(PROJECT / "dagster.yaml", place.home)
        return place

    @property
    def root(self) -> Path:
        """The store's root."""
        return self.folder / "store"

    @property
    def home(self) -> Path:
        """Dagster's home."""
        return self.folder / "dagster_home"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of commands. `CI` would make rich and Dagster print otherwise than at a desk."""
        inherited = {name: value for name, value in os.environ.items() if name != "CI"}
        own = {"LLM_ASSETS_ROOT": str(self.root), "DAGSTER_HOME": str(self.home), "NO_COLOR": "1"}
        return {**inherited, **own, **self.settings}

    def run(self, command: str, *arguments: str, cwd: Path = PROJECT) -> subprocess.CompletedProcess[str]:
        """A script of this Python's environment, to its end."""
        return subprocess.run(
            [str(SCRIPTS / command), *arguments],
            cwd=cwd,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def llm_assets(self, *arguments: str, cwd: Path = PROJECT) -> subprocess.CompletedProcess[str]:
        """`llm-assets …`."""
        return self.run("llm-assets", *arguments, cwd=cwd)

    def status(self) -> list[dict[str, Any]]:
        """`llm-assets status --json`."""
        result = self.llm_assets("status", "--json")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)


@dataclass(frozen=True)
class DagsterDev:
    """A running `dagster dev`."""

    url: str
    log: Path
    session: int

    def query(self, query: str, **variables: Any) -> dict[str, Any]:
        """The `data` of a GraphQL query, which must have no errors."""
        response = requests.post(f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60)
        assert response.ok, response.text
        answer = response.json()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def is_up(self) -> bool:
        """Whether the web server answers."""
        try:
            return requests.get(f"{self.url}/server_info", timeout=5).ok
        except requests.ConnectionError:
            return False


@contextmanager
def dagster_dev(place: Place, cwd: Path = PROJECT) -> Iterator[DagsterDev]:
    """`dagster dev` in a project's folder, in a session of its own; stopped as a person does, by SIGINT."""
    log = place.folder / "dagster-dev.log"
    with log.open("w") as output:
        port = str(_free_port())
        process = subprocess.Popen(
            [str(SCRIPTS / "dagster"), "dev", "--host", "127.0.0.1", "--port", port],
            cwd=cwd,
            env=place.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_heed_interrupts,
        )
    server = DagsterDev(f"http://127.0.0.1:{port}", log, process.pid)

    def ready() -> bool | None:
        assert process.poll() is None, f"dagster dev ended:\n{log.read_text()}"
        return server.is_up() or None

    try:
        wait_for("dagster dev to answer", ready, 120)
        yield server
    finally:
        _stop(process)


def _heed_interrupts() -> None:
    """Tests that run as a shell's background job inherit that SIGINT is ignored; so would what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Interrupt the session of a process; none of its processes may outlive that by half a minute."""
    members = processes_of(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    _, alive = psutil.wait_procs(members, timeout=30)
    left = sorted({*alive, *processes_of(process.pid)}, key=lambda one: one.pid)
    names = [_command_line(one) for one in left]
    for one in left:
        one.kill()
    process.wait(30)
    assert not names, f"still running after SIGINT: {names}"


def processes_of(session: int) -> list[psutil.Process]:
    """The living processes of a session."""
    return [process for process in psutil.process_iter() if _session(process) == session]


def _session(process: psutil.Process) -> int | None:
    try:
        return None if process.status() == psutil.STATUS_ZOMBIE else os.getsid(process.pid)
    except (ProcessLookupError, psutil.NoSuchProcess):
        return None


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:200]
    except psutil.NoSuchProcess:
        return str(process.pid)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
