"""`QualityModel` in YAML: what it declares, what it refuses and where, and the asset that Dagster makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path

import dagster as dg
import pytest
from dagster.components.core.component_tree import ComponentTreeException

from llm_assets.components import QualityModel
from llm_assets.components.scaffolding import quality_model_scaffolder
from llm_assets.contract.engine import LocalEngine
from llm_assets.contract.link import Work
from llm_assets.definitions import build_defs
from llm_assets.stages.read.link import RawLink
from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.store.folder import Folder
from llm_assets.store.layout import SUCCESS, Store
from llm_assets.store.models import StoredModel
from llm_assets_tests.end_to_end.projects import DECLARATIONS, SOURCE, write_project
from llm_assets_tests.worlds.world import jsonl, paragraphs

WIKI = SOURCE.replace("name: web", "name: wiki")
MODEL = """\
type: llm_assets.components.QualityModel

attributes:
  name: encyclopedic
  description: Articles against the web.
  train:
    good: wiki
    ordinary: web
    buckets: 5000
"""
FILE = """\
type: llm_assets.components.QualityModel

attributes:
  name: encyclopedic
"""
Load = Callable[[Mapping[str, str]], dg.Definitions]
NUMBERS = count()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Folder(str(tmp_path / "store")))


@pytest.fixture
def load(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Load:
    """The definitions of a project of two sources and what else is declared."""
    monkeypatch.setenv("LLM_ASSETS_ROOT", store.root.uri)

    def loaded(more: Mapping[str, str]) -> dg.Definitions:
        module = f"corpora_with_models_{next(NUMBERS)}"
        project = write_project(tmp_path / module, module, {**DECLARATIONS, "wiki": WIKI, **more})
        monkeypatch.syspath_prepend(str(project))
        return build_defs(project=project)

    return loaded


def causes(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield str(error)
        error = error.__cause__


def land(store: Store, source: str, texts: list[str]) -> None:
    """A raw snapshot of a source."""
    folder = store.landing / f"{source}/a"
    folder.put("0.jsonl", jsonl(texts))
    folder.put(SUCCESS, b"")
    RawLink(source, ReadParameters()).make(Work(store, LocalEngine(1), "a")).commit()


def test_the_asset_depends_on_what_it_is_trained_on(load: Load) -> None:
    graph = load({"model": MODEL}).resolve_asset_graph()
    node = graph.get(dg.AssetKey(["models", "encyclopedic"]))
    assert node.parent_keys == {dg.AssetKey(["wiki", "raw"]), dg.AssetKey(["web", "raw"])}
    assert node.group_name == "models" and "Articles against the web." in (node.description or "")
    assert {key.name for key in node.check_keys} == {"model_scores", "held_out_documents", "held_out_accuracy"}


def test_dagster_trains_checks_and_commits_it(load: Load, store: Store) -> None:
    land(store, "wiki", paragraphs(0, 100))
    land(store, "web", [text.upper() for text in paragraphs(100, 200)])
    job = load({"model": MODEL}).resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(asset_selection=[dg.AssetKey(["models", "encyclopedic"])])
    assert result.success
    (made,) = result.asset_materializations_for_node("models__encyclopedic")
    assert made.metadata["held_out_accuracy"].value == 1.0
    assert "Held\\-out scores of good documents" in str(made.metadata["report"].value)
    assert made.metadata["sample_good_with_the_lowest_scores"].value.records
    assert {check.check_name for check in result.get_asset_check_evaluations() if check.passed} == {
        "model_scores",
        "held_out_documents",
        "held_out_accuracy",
    }
    stored = StoredModel.open(store.model("encyclopedic"))
    assert stored is not None and stored.load().settings == {"label": "good"}


def test_a_model_that_is_refused_is_not_committed(load: Load, store: Store) -> None:
    (Path(store.root.path) / "no_model.bin").parent.mkdir(parents=True)
    (Path(store.root.path) / "no_model.bin").write_bytes(b"no model")
    declared = FILE + f"  file: {{path: {store.root.path}/no_model.bin, label: good}}\n"
    job = load({"model": declared}).resolve_implicit_global_asset_job_def()
    key = dg.AssetKey(["models", "encyclopedic"])
    result = job.execute_in_process(asset_selection=[key], raise_on_error=False)
    assert not result.success and StoredModel.open(store.model("encyclopedic")) is None
    assert store.refusals.get("models/encyclopedic", "") is not None


WRONG = {
    "nothing to make it from": (FILE, ["model/defs.yaml:4: name: give exactly one of train, file, transformers"]),
    "two things to make it from": (
        MODEL + "  file: {path: x.bin, label: good}\n",
        ["model/defs.yaml:10: file: give exactly one of train, file, transformers: there are train, file"],
    ),
    "an undeclared source": (
        MODEL.replace("good: wiki", "good: books"),
        ["model/defs.yaml:7: train.good: no source 'books' is declared; there are: web, wiki"],
    ),
    "one source on both sides": (
        MODEL.replace("good: wiki", "good: web"),
        ["train at", "model/defs.yaml:6", "`good` and `ordinary` are both 'web'"],
    ),
    "only one source": (MODEL.replace("    ordinary: web\n", ""), ["train.ordinary at", "Field required"]),
    "a file without a label": (FILE + "  file: {path: x.bin}\n", ["file.label at", "model/defs.yaml:5", "required"]),
    "a folder without a meaning": (
        FILE + "  transformers: {folder: x}\n",
        ["transformers at", "model/defs.yaml:5", "give either `label`"],
    ),
    "a misspelt parameter": (MODEL.replace("buckets", "bucket"), ["train.bucket at", "defs.yaml:9", "no such field"]),
    "a share over one": (MODEL + "  min_accuracy: 70\n", ["min_accuracy at", "model/defs.yaml:10", "equal to 1"]),
}


@pytest.mark.parametrize(("yaml", "says"), WRONG.values(), ids=WRONG)
def test_wrong_yaml_is_refused_with_line_field_and_reason(load: Load, yaml: str, says: list[str]) -> None:
    with pytest.raises(ComponentTreeException) as caught:
        load({"model": yaml})
    told = "\n".join(causes(caught.value))
    assert all(part in told for part in says), told


def test_the_schema_names_no_alternatives() -> None:
    schema = QualityModel.get_model_cls().model_json_schema()
    assert "anyOf" not in str(schema) and "$ref" not in str(schema)
    assert all(field["description"] for field in schema["properties"].values())


def test_there_is_an_example_to_scaffold() -> None:
    assert issubclass(quality_model_scaffolder, dg.Scaffolder)
