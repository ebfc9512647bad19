"""`llm-assets plan`: what a version would be, before it is; nothing is written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from llm_assets.chain.arrivals import source_links
from llm_assets.chain.engine import LocalEngine
from llm_assets.chain.link import Work
from llm_assets.cli.app import app
from llm_assets.components.project import load_project
from llm_assets.store.folder import Folder
from llm_assets.store.layout import SUCCESS, Store
from llm_assets.store.shards import ShardSet
from llm_assets_tests.chain.world import jsonl, paragraphs
from llm_assets_tests.end_to_end.projects import TOKENIZER, write_project
from llm_assets_tests.store.writers import files

SOURCE = """\
type: llm_assets.components.CorpusSource
attributes:
  name: {name}
  tokenizer: bytes_and_more
  tags: {{kind: {kind}}}
  pack: {{sequence_length: 128}}
"""
MIXTURE = """\
type: llm_assets.components.Mixture
attributes:
  name: {name}
"""
KINDS = {"web": "prose", "wiki": "prose", "code": "code"}
FIRST = """\
  shares: {"tag:kind=prose": 3, code: 1}
  max_repetitions_by_source: {code: 2}
  held_out: {rows: 2}
  phases:
    - {name: main}
    - {name: anneal, fraction: 0.25, shares: {wiki: 1}}
"""


@dataclass(frozen=True)
class PackedProject:
    """A project in which three sources are packed, and a mixture of them to declare."""

    folder: Path
    module: str
    store: Store

    def declare(self, recipe: str, name: str = "first") -> None:
        place = self.folder / self.module / f"defs/{name}"
        place.mkdir(exist_ok=True)
        (place / "defs.yaml").write_text(MIXTURE.format(name=name) + recipe)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> PackedProject:
    place = tmp_path_factory.mktemp("packed")
    module = f"corpora_{place.name}"  # another for every project: this process imports it
    sources = {name: SOURCE.format(name=name, kind=kind) for name, kind in KINDS.items()}
    folder = write_project(place / "project", module, {**sources, "bytes_and_more": TOKENIZER})
    store = Store(Folder(str(place / "store")))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        loaded = load_project(folder)
    for number, name in enumerate(KINDS):
        landing = store.landing / f"{name}/2026-01"
        landing.put("a.jsonl", jsonl(paragraphs(100 * number, 100 * number + 20 + 10 * number)))
        landing.put(SUCCESS, b"")
        store.order(name).register("2026-01")
        for link in source_links(loaded.sources[name])[:3]:
            link.make(Work(store, LocalEngine(2), "2026-01")).commit()
    loaded.tokenizers["bytes_and_more"].make(Work(store, LocalEngine(2), "")).commit()
    for name in KINDS:
        for link in source_links(loaded.sources[name])[3:]:
            link.make(Work(store, LocalEngine(2), "2026-01")).commit()
    return PackedProject(folder, module, store)


Plan = Callable[..., Result]


@pytest.fixture
def plan(project: PackedProject, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The command, with a mixture of that recipe."""
    monkeypatch.chdir(project.folder)
    monkeypatch.syspath_prepend(str(project.folder))
    monkeypatch.setenv("LLM_ASSETS_ROOT", project.store.root.uri)

    def planned(recipe: str, *options: str) -> Result:
        project.declare(recipe)
        return CliRunner().invoke(app, ["plan", "first", *options])

    return planned


def test_the_plan_is_what_is_made(project: PackedProject, plan: Plan) -> None:
    before = files(project.store.root)
    result = plan(FIRST, "--json")
    assert result.exit_code == 0, result.stderr
    assert files(project.store.root) == before
    planned = json.loads(result.stdout)
    link = load_project(project.folder).mixtures["first"]
    version = link.versions(project.store).register(link.recipe(project.store))
    staged = link.make(Work(project.store, LocalEngine(2), version))
    index, details = staged.shards.index, staged.manifest.details
    assert planned["rows"] == index.rows and planned["limited_by"] == details["limited_by"]
    assert {use["source"]: use["rows"] for use in planned["sources"]} == index.rows_by_source
    assert planned["held_out_rows"] == details["held_out"]["rows"] == 6
    assert planned["tokens"] == pytest.approx(index.tokens, rel=0.02)
    size = sum(project.store.root.sizes(f"mixtures/first/{version}").values())
    assert planned["disk_bytes"] == pytest.approx(size, rel=0.3) and planned["work_bytes"] == planned["disk_bytes"]
    phases = {phase["phase"]: phase["first_row"] for phase in planned["phases"]}
    assert phases == {"main": 0, "anneal": details["plan"]["phases"][0]["rows"]}
    for use in planned["sources"]:
        rows = ShardSet.open(project.store.packed(use["source"], "2026-01")).rows
        assert use["available"] + use["held_out"] == rows and use["snapshots"] == ["2026-01"]
        assert use["repetitions"] == pytest.approx(use["rows"] / use["available"])
        assert use["rows"] + use["left"] == int(use["max_repetitions"] * use["available"])
    staged.discard()


def test_the_plan_for_a_person(plan: Plan) -> None:
    shown = plan(FIRST)
    assert shown.exit_code == 0, shown.stderr
    assert re.search(r"^main +web +0 +0\.\d{4} +\d+ +[\d,]+$", shown.stdout, re.MULTILINE)
    assert re.search(r"^wiki +\d+ +2 +0 +\d+ .* +\d\.\d\d +1 +0 +2026-01 *$", shown.stdout, re.MULTILINE)
    assert "as long as can be: limited by wiki" in shown.stdout
    assert re.findall(r"^anneal +(\w+)", shown.stdout, re.MULTILINE) == ["wiki"]
    shown = plan("  sources: [web, code]\n  total_rows: 10\n")
    assert re.search(r"as long as asked for; (web|code) would run out first, \d+ rows of it are left", shown.stdout)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (
            "  shares: {web: 1}\n  total_rows: 100000\n",
            r"source 'web': its share of 1 of 100000 rows needs 100000 rows",
        ),
        ("  shares: {web: 1}\n  epochs: 3\n", r"\(max_repetitions 3\.0 would do\)\nRemedy: ask for at most \d+ rows"),
        ("  shares: {web: 1}\n  held_out: {rows: 9999}\n", r"held_out: 9999 rows of source 'web', which has \d+"),
        ("  shares: {web: 1}\n  snapshots: {web: [2027-01]}\n", r"web/packed\[2027-01\] is not there"),
        ("  shares: {web: 1}\n  continues: other@v1\n  from_row: 1\n", "other@v1, to be continued, is not made"),
    ],
)
def test_what_cannot_be_is_refused(plan: Plan, recipe: str, message: str) -> None:
    refused = plan(recipe)
    assert refused.exit_code == 2 and re.search(message, refused.stderr), refused.stderr


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("  seed: 1\n", "defs.yaml:2: shares: they are needed"),
        ('  shares: {"tag:kind=verse": 1}\n', "defs.yaml:4: shares.tag:kind=verse: no source has the tag kind=verse"),
        ("  sources: [web, tag:kind]\n", "defs.yaml:4: sources.1: 'tag:kind' is no tag: write tag:key=value"),
        (
            '  shares: {"tag:kind=prose": 1, web: 1}\n',
            "defs.yaml:4: shares: web would have two: it is in tag:kind=prose",
        ),
        (
            "  shares: {web: 1}\n  epochs: 1\n  total_rows: 2\n",
            "defs.yaml:5: epochs: only one of total_rows and epochs",
        ),
        ("  shares: {web: 1}\n  temperature: 0\n", "defs.yaml:5: temperature: Input should be greater"),
        ("  shares: {web: 1}\n  continues: v1\n  from_row: 3\n", "defs.yaml:5: continues: Value error, a version of"),
        ("  shares: {web: 1}\n  from_row: 3\n", "defs.yaml:5: from_row: both go together"),
        ("  shares: {web: 1}\n  snapshots: {code: [a]}\n", "defs.yaml:5: snapshots: code: not in this mixture"),
        (
            "  phases:\n    - {name: a, shares: {web: 1}}\n    - {name: b, rows: 5, shares: {wki: 1}}\n",
            "defs.yaml:4: phases.1.shares.wki: no source 'wki' is declared; there are: code, web, wiki",
        ),
        (
            "  shares: {web: 1}\n  phases:\n    - {name: a, fraction: 0.5}\n    - {name: b, fraction: 0.4}\n",
            "defs.yaml:5: phases: the fractions add up to 0.9, not to 1",
        ),
    ],
)
def test_a_declaration_that_cannot_be_names_line_and_field(plan: Plan, recipe: str, message: str) -> None:
    refused = plan(recipe)
    assert refused.exit_code == 2 and message in refused.stderr, refused.stderr


@pytest.mark.parametrize(
    ("recipe", "field", "line", "why"),
    [
        ("  shares: {web: 1}\n  held_out: {row: 3}\n", "held_out.row", 5, "there is no such field; there are: rows,"),
        ("  sources: [web]\n  phases:\n    - {name: a, rows: 0}\n", "phases.0.rows", 6, "greater than 0"),
    ],
)
def test_a_nested_field_is_named_too(plan: Plan, recipe: str, field: str, line: int, why: str) -> None:
    refused = plan(recipe)
    assert refused.exit_code == 2
    assert re.search(rf"attributes\.{field} at \S+defs\.yaml:{line}`\n.*{why}", refused.stderr), refused.stderr


def test_a_mixture_that_is_not_there(plan: Plan, project: PackedProject) -> None:
    project.declare("  shares: {web: 1}\n")
    refused = CliRunner().invoke(app, ["plan", "frist"])
    assert refused.exit_code == 2 and "no mixture is called 'frist'; there are: first" in refused.stderr
