"""What tests of commands share: a project of one source whose snapshots are cleaned, made without Dagster's runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from llm_assets.cli.app import app
from llm_assets.components.declared import load_project
from llm_assets.contract.engine import LocalEngine
from llm_assets.contract.link import Work
from llm_assets.stages.clean.link import CleanedLink
from llm_assets.store.folder import Folder
from llm_assets.store.layout import SUCCESS, Store
from llm_assets_tests.end_to_end.projects import DECLARATIONS, write_project
from llm_assets_tests.worlds.cleaned_world import mixed_texts
from llm_assets_tests.worlds.world import jsonl

CLEAN = """\
  clean:
    gopher_quality: {min_words: 50}
    language: {min_confidence: 0.3}
"""
ROOT = "LLM_ASSETS_ROOT"
Invoke = Callable[[Sequence[str]], Result]


@dataclass(frozen=True)
class CleanedProject:
    """A project folder and its store, in which `web/cleaned` has two snapshots."""

    folder: Path
    module: str
    store: Store
    link: CleanedLink

    def declare(self, clean: str) -> None:
        """Change what the source declares of cleaning."""
        declaration = DECLARATIONS["web"] + clean
        (self.folder / self.module / "defs/web/defs.yaml").write_text(declaration)


@pytest.fixture(scope="module")
def cleaned_project(tmp_path_factory: pytest.TempPathFactory) -> CleanedProject:
    place = tmp_path_factory.mktemp("cleaned")
    module = f"corpora_{place.name}"  # another for every project: this process imports it
    folder = write_project(place / "project", module, {**DECLARATIONS, "web": DECLARATIONS["web"] + CLEAN})
    store = Store(Folder(str(place / "store")))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        link = load_project(folder).of_kind(CleanedLink)["web"]
    for seed, snapshot in enumerate(["2026-01", "2026-02"]):
        landing = store.landing / f"web/{snapshot}"
        landing.put("a.jsonl", jsonl(mixed_texts(80, seed)))
        landing.put(SUCCESS, b"")
        store.order("web").register(snapshot)
        for each in (link.documents, link):
            each.make(Work(store, LocalEngine(2), snapshot)).commit()
    return CleanedProject(folder, module, store, link)


@pytest.fixture
def invoke(cleaned_project: CleanedProject, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """A command in this process, in that project."""
    monkeypatch.chdir(cleaned_project.folder)
    monkeypatch.syspath_prepend(str(cleaned_project.folder))
    monkeypatch.setenv(ROOT, cleaned_project.store.root.uri)
    return lambda arguments: CliRunner().invoke(app, arguments)
