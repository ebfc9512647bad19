from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks import environment
from benchmarks.harness import ROOT, BenchmarkError


def test_an_environment_is_made_once_and_again_when_its_requirements_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def make(folder: Path, pinned: Path) -> None:
        folder.mkdir(exist_ok=True)
        made.append(pinned.read_text())

    monkeypatch.setattr(environment, "_make", make)
    requirements = tmp_path / "peer.txt"
    for content in ("a==1", "a==1", "a==2"):
        requirements.write_text(content)
        assert environment.peer_python("peer", tmp_path, requirements) == tmp_path / "peer/bin/python"
    assert made == ["a==1", "a==2"]


@pytest.mark.slow
def test_an_environment_is_apart_and_one_that_cannot_be_made_is_tried_again(tmp_path: Path) -> None:
    requirements = tmp_path / "peer.txt"
    requirements.write_text("./nothing-here")
    with pytest.raises(BenchmarkError, match="could not be installed"):
        environment.peer_python("peer", tmp_path, requirements)
    requirements.write_text("")
    python = environment.peer_python("peer", tmp_path, requirements)
    prefix = subprocess.run([python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True)
    assert prefix.stdout.strip() == str(tmp_path / "peer")


def test_every_requirement_of_a_peer_is_pinned() -> None:
    files = list((ROOT / "benchmarks/peers").glob("*.txt"))
    assert files
    for file in files:
        assert [line for line in file.read_text().splitlines() if "==" not in line] == []
