"""What end-to-end tests share: one store that `llm-assets run` has filled, and one `dagster dev` that shows it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from llm_assets_tests.end_to_end.servers import DagsterDev, Place, dagster_dev

DEMO_MEGABYTES = "5"


@dataclass(frozen=True)
class Demo:
    """A place where the demonstration has run, what the command said, and how long it took."""

    place: Place
    landed: str
    output: str
    seconds: float


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    place = Place.make(tmp_path_factory.mktemp("demo"))
    landed = place.llm_assets("demo-data", "--megabytes", DEMO_MEGABYTES)
    assert landed.returncode == 0, landed.stderr
    start = time.monotonic()
    run = place.llm_assets("run")
    assert run.returncode == 0, run.stdout + run.stderr
    return Demo(place, landed.stdout, run.stdout, time.monotonic() - start)


@pytest.fixture(scope="session")
def dev(demo: Demo) -> Iterator[DagsterDev]:
    with dagster_dev(demo.place) as server:
        yield server
