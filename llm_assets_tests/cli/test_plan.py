"""`llm-assets plan`: what a version would be, before it is; nothing is written."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from llm_assets.cli.app import app
from llm_assets.cli.plan import PhaseShare, Planned, SourceUse, tables
from llm_assets.components.declared import load_project
from llm_assets.contract.engine import LocalEngine
from llm_assets.contract.link import Work
from llm_assets.stages.mix.link import MixedLink
from llm_assets.stages.pack.link import PackedLink
from llm_assets.stages.tokenizer.link import TokenizerLink
from llm_assets.store.folder import Folder
from llm_assets.store.layout import SUCCESS, Store
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets_tests.end_to_end.projects import TOKENIZER, write_project
from llm_assets_tests.store.writers import files
from llm_assets_tests.worlds.world import jsonl, paragraphs

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
        for link in loaded.of_kind(PackedLink)[name].lineage[:3]:
            link.make(Work(store, LocalEngine(2), "2026-01")).commit()
    loaded.of_kind(TokenizerLink)["bytes_and_more"].make(Work(store, LocalEngine(2), "")).commit()
    for name in KINDS:
        for link in loaded.of_kind(PackedLink)[name].lineage[3:]:
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
    link = load_project(project.folder).of_kind(MixedLink)["first"]
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
        of_phases = [phase for phase in planned["phases"] if phase["source"] == use["source"]]
        assert sum(phase["rows"] for phase in of_phases) == use["rows"]
        assert sum(phase["repetitions"] for phase in of_phases) == pytest.approx(use["repetitions"])
    described = link.describe(staged, project.store).tables
    shares = {(each["phase"], each["source"]): each["rows"] for each in described["shares"]}
    assert shares == {(p["phase"], p["source"]): p["rows"] for p in planned["phases"] if p["share"]}
    assert {each["source"]: each["rows"] for each in described["sources"]} == index.rows_by_source
    assert {each["source"]: each["tokens"] for each in described["sources"]} == index.tokens_by_source
    assert sum(int(each["tokens"]) for each in described["shares"]) == index.tokens
    staged.discard()


def test_the_plan_for_a_person(plan: Plan) -> None:
    shown = plan(FIRST)
    assert shown.exit_code == 0, shown.stderr
    lines = [line.rstrip() for line in shown.stdout.splitlines()]
    assert max(map(len, lines)) <= 80 and "…" not in shown.stdout
    (main,) = [place for place, line in enumerate(lines) if re.fullmatch(r"main +0 +\d+ +[\d,]+", line)]
    assert [line.split()[0] for line in lines[main + 1 : main + 4]] == ["code", "web", "wiki"]
    assert re.fullmatch(r" +web +\d+\.\d{4}% +\d+ +[\d,]+ +\d\.\d\d", lines[main + 2])
    assert re.fullmatch(r"anneal +\d+ +\d+ +[\d,]+", lines[main + 4])
    assert re.fullmatch(r" +wiki +100\.0000% +\d+ +[\d,]+ +\d\.\d\d", lines[main + 5]) and not lines[main + 6]
    assert any(re.fullmatch(r"wiki +\d+ +2 +\d+ +[\d,]+ +0 +\d\.\d\d +1", line) for line in lines)
    assert "wiki: 2026-01" in lines and "as long as can be: limited by wiki" in lines
    assert re.search(r"KB while it is made; \S+ [GT]B are free", lines[-1])
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
        ("  shares: {web: 1}\n  continues: other@v1\n  from_row: 1\n", "other@v1 is not made"),
    ],
)
def test_what_cannot_be_is_refused(plan: Plan, recipe: str, message: str) -> None:
    refused = plan(recipe)
    assert refused.exit_code == 2 and re.search(message, refused.stderr), refused.stderr


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("  seed: 1\n", "defs.yaml:2: shares: give shares, or sources"),
        ('  shares: {"tag:kind=verse": 1}\n', "defs.yaml:4: shares.tag:kind=verse: no source has the tag kind=verse"),
        ("  sources: [web, tag:kind]\n", "defs.yaml:4: sources.1: 'tag:kind' is no tag: write tag:key=value"),
        (
            '  shares: {"tag:kind=prose": 1, web: 1}\n',
            "defs.yaml:4: shares: web would have two shares: it is in tag:kind=prose",
        ),
        (
            "  shares: {web: 1}\n  epochs: 1\n  total_rows: 2\n",
            "defs.yaml:5: epochs: give only one of total_rows and epochs",
        ),
        ("  shares: {web: 1}\n  temperature: 0\n", "defs.yaml:5: temperature: Input should be greater"),
        ("  shares: {web: 1}\n  continues: v1\n  from_row: 3\n", "defs.yaml:5: continues: give a version of"),
        ("  shares: {web: 1}\n  from_row: 3\n", "defs.yaml:5: from_row: give continues and from_row together"),
        ("  shares: {web: 1}\n  snapshots:\n    code: [a]\n", "defs.yaml:6: snapshots.code: not in this mixture"),
        (
            '  shares: {"tag:kind=prose": 1}\n  max_repetitions_by_source:\n    "tag:kind=prose": 2\n',
            "defs.yaml:6: max_repetitions_by_source.tag:kind=prose: name the sources here, not a tag: web, wiki",
        ),
        ('  shares:\n    web: 1\n    "tag:v=1.2": 1\n', "defs.yaml:6: shares.tag:v=1.2: no source has the tag v=1.2"),
        ("  sources:\n    - web\n    - wki\n", "defs.yaml:6: sources.1: no source 'wki' is declared"),
        (
            "  shares: {web: 1}\n  phases:\n    - {name: a}\n    - name: b\n      fraction: 0.5\n"
            '      shares:\n        "tag:kind=prose": 1\n        wiki: 1\n',
            "defs.yaml:9: phases.1.shares: wiki would have two shares: it is in tag:kind=prose and in wiki",
        ),
        ("  shares: {web: 1}\n  temperature: 2\n", "defs.yaml:5: temperature: no share follows from sizes"),
        (
            "  sources: [web]\n  phases:\n    - {name: a}\n    - name: b\n      fraction: 0.5\n"
            "      shares: {wiki: 1}\n      temperature: 2\n",
            "defs.yaml:10: phases.1.temperature: no share follows from sizes",
        ),
        (
            "  phases:\n    - {name: a, shares: {web: 1}}\n    - {name: b, rows: 5, shares: {wki: 1}}\n",
            "defs.yaml:6: phases.1.shares.wki: no source 'wki' is declared; there are: code, web, wiki",
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


def test_what_looks_as_if_it_were_there(plan: Plan) -> None:
    shown = plan("  shares: {web: 1, wiki: 0.001, code: 0}\n  total_rows: 10\n")
    assert "wiki has a share of whole, but it comes to no row" in shown.stdout and "code has" not in shown.stdout


def test_large_numbers_and_many_snapshots_stay_readable() -> None:
    big, snapshots = 123_456_789_012, tuple(f"s{number:03d}" for number in range(200))
    uses = tuple(
        SourceUse(name, snapshots, big, 10**6, big, big, 10**13, 12.345, 16.5, 0) for name in ("a", "long" * 12)
    )
    shares = tuple(PhaseShare("main", 0, use.source, 0.5, 10**9, 10**13, 0.001) for use in uses)
    planned = Planned("m", None, 0, 2 * 10**9, 2 * 10**13, 10**6, 10**13, 10**13, 10**12, ("a",), shares, uses)
    console = Console(width=80, file=io.StringIO())
    for shown in tables(planned):
        console.print(shown)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "123.5 G" in text and "10 T" in text and "<0.01" in text and "12.35" in text and "…" not in text
    assert "a: 200 snapshots, s000 to s199" in text
    assert "10 TB while it is made; 1 TB are free: too little, make room" in text.replace("\n", " ")


def test_a_source_that_is_not_there_yet_may_have_a_share_of_0(plan: Plan, project: PackedProject) -> None:
    later = project.folder / project.module / "defs/later"
    later.mkdir()
    (later / "defs.yaml").write_text(SOURCE.format(name="later", kind="later"))
    try:
        assert "later: no snapshot" in plan("  shares: {web: 1, later: 0}\n").stdout
        link = load_project(project.folder).of_kind(MixedLink)["first"]
        version = link.versions(project.store).register(link.recipe(project.store))
        staged = link.make(Work(project.store, LocalEngine(2), version))
        assert all(outcome.passed for outcome in link.check(staged, project.store))
        sources = link.describe(staged, project.store).tables["sources"]
        assert {each["source"]: each["packed"] for each in sources}["later"] == 0
        staged.discard()
        refused = plan("  sources: [web, later]\n")
        assert refused.exit_code == 2 and "later/packed has no snapshot that is up to date" in refused.stderr
    finally:
        shutil.rmtree(later)


def test_a_mixture_that_is_not_there(plan: Plan, project: PackedProject) -> None:
    project.declare("  shares: {web: 1}\n")
    refused = CliRunner().invoke(app, ["plan", "frist"])
    assert refused.exit_code == 2 and "no mixture is called 'frist'; there are: first" in refused.stderr
