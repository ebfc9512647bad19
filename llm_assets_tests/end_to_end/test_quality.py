"""A source judged by a model that is trained on sources, and by a blocklist: made in order, stale when they change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llm_assets_tests.end_to_end.projects import DECLARATIONS, SOURCE, land, write_project
from llm_assets_tests.end_to_end.servers import Place

pytestmark = pytest.mark.slow

MODEL = """\
type: llm_assets.components.QualityModel

attributes:
  name: good
  train: {good: wiki, ordinary: spam, buckets: 10000}
"""

JUDGED = """\
  clean:
    quality: [{model: good, min_score: 0.5}]
    blocklists: [{name: pets, words: PATH, action: drop}]
"""


def land_spam(place: Place, source: str, snapshot: str, numbers: range) -> None:
    folder = place.root / "landing" / source / snapshot
    folder.mkdir(parents=True, exist_ok=True)
    offer = "BUY now and SAVE {0} dollars, click here for the best and cheap offer number {0} with free gifts! "
    lines = [json.dumps({"id": f"spam-{number}", "text": offer.format(number) * 6}) for number in numbers]
    (folder / "spam.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (folder / "_SUCCESS").touch()


def status(place: Place, project: Path) -> dict[str, Any]:
    """Of every asset what `status` says; each has one partition."""
    told = json.loads(place.llm_assets("status", "--json", cwd=project).stdout)
    return {entry["asset"]: entry for entry in told}


def test_models_and_lists_judge_and_make_stale(tmp_path: Path) -> None:
    words = tmp_path / "pets.txt"
    words.write_text("budgerigar\n")
    sources = {name: SOURCE.replace("name: web", f"name: {name}") for name in ("wiki", "spam")}
    web = SOURCE + JUDGED.replace("PATH", str(words))
    project = write_project(tmp_path / "project", "judged", {**DECLARATIONS, **sources, "web": web, "good": MODEL})
    place = Place.make(tmp_path / "place")
    land(place.root / "landing", "wiki", "a", range(300, 420))
    land_spam(place, "spam", "a", range(120))
    land(place.root / "landing", "web", "a", range(40))
    land_spam(place, "web", "a", range(500, 520))

    first = place.llm_assets("run", "first", cwd=project)
    assert first.returncode == 0, first.stderr
    made = status(place, project)
    assert made["models/good"]["state"] == "current" and made["wiki/cleaned"]["state"] == "missing"
    assert made["web/cleaned"]["ledger"]["kept"]["documents"] == 40
    assert {name: count["documents"] for name, count in made["web/cleaned"]["ledger"]["dropped"].items()} == {
        "quality.good.min_score": 20
    }
    assert place.llm_assets("run", "first", cwd=project).stdout.endswith("everything is up to date\n")

    words.write_text("budgerigar\nvillage\n")
    stale = {asset: entry["state"] for asset, entry in status(place, project).items()}
    assert stale["web/cleaned"] == "stale" and stale["web/raw"] == stale["models/good"] == "current"
    assert place.llm_assets("run", "first", cwd=project).returncode == 0
    made = status(place, project)
    assert made["web/cleaned"]["ledger"]["dropped"]["blocklist.pets"]["documents"] > 0

    words.unlink()
    refused = place.llm_assets("run", "first", cwd=project)
    assert refused.returncode == 1 and f"{words} is not there" in refused.stderr
