from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import psutil
import pytest

from llm_assets.store.process import WriterProcess


def test_this_process_lives() -> None:
    this = WriterProcess.this()
    assert this.is_dead() is False
    assert WriterProcess.from_dict(this.as_dict()) == this


def test_a_process_that_ended_is_dead_also_before_its_parent_asks() -> None:
    code = (
        "import json; from llm_assets.store.process import WriterProcess; "
        "print(json.dumps(WriterProcess.this().as_dict()))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        mark = WriterProcess.from_dict(json.loads(child.stdout.read()))
        while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
            pass
        assert mark.number == child.pid and mark.is_dead() is True
    assert mark.is_dead() is True


def test_a_number_that_went_to_another_process_is_dead() -> None:
    assert replace(WriterProcess.this(), began=WriterProcess.this().began - 60).is_dead() is True


@pytest.mark.parametrize("part", [0, 1, 2], ids=["host", "boot", "container"])
def test_elsewhere_it_cannot_be_known(part: int) -> None:
    this = WriterProcess.this()
    place = this.place.split("/")
    place[part] = "elsewhere"
    assert replace(this, place="/".join(place)).is_dead() is None


@pytest.mark.skipif(not psutil.LINUX, reason="the clock is set by patching the Linux part of psutil")
@pytest.mark.parametrize("step", [-3600.0, 3.0, 86400.0])
def test_setting_the_clock_kills_nobody(step: float, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = WriterProcess.this()
    boot: Callable[[], float] = psutil.boot_time
    before = boot()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: before + step)
    assert abs(psutil.Process().create_time() - before - step - mark.began) < 1
    assert mark.is_dead() is False
