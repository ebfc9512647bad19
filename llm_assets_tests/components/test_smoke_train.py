"""`smoke_train` of a mixture: declared in YAML, made by Dagster and the command line, and never in its way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from itertools import count
from pathlib import Path

import dagster as dg
import pytest
from dagster.components.core.component_tree import ComponentTreeException

from llm_assets.cli.run import Runner
from llm_assets.cli.status import PartitionStatus, project_status
from llm_assets.components.declared import load_project
from llm_assets.contract.link import State
from llm_assets.definitions import build_defs
from llm_assets.project import Project
from llm_assets.stages.smoke_train.link import SmokeTrainLink
from llm_assets.store.folder import Folder
from llm_assets.store.layout import Store
from llm_assets.store.reports import StoredReport
from llm_assets_tests.end_to_end.projects import DECLARATIONS, MIXTURE, land, write_project

SMOKE = (
    "  held_out: {rows: 9}\n  smoke_train: {steps: 20, batch_size: 1, width: 16, heads: 2, threads: 1, held_out_rows: 8"
)
KEY = dg.AssetKey(["first", "smoke_train"])
NUMBERS = count()
Load = Callable[[str], tuple[dg.Definitions, Project]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Folder(str(tmp_path / "store")))


@pytest.fixture
def load(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Load:
    """A project whose mixture has these lines more."""
    monkeypatch.setenv("LLM_ASSETS_ROOT", store.root.uri)

    def loaded(more: str) -> tuple[dg.Definitions, Project]:
        module = f"corpora_with_smoke_{next(NUMBERS)}"
        project = write_project(tmp_path / module, module, {**DECLARATIONS, "first": MIXTURE + more})
        monkeypatch.syspath_prepend(str(project))
        return build_defs(project=project), load_project(project)

    return loaded


def states(statuses: Iterator[PartitionStatus]) -> Mapping[str, tuple[str, State]]:
    return {status.asset: (status.partition, status.state) for status in statuses if status.asset.startswith("first/")}


def test_a_mixture_has_none_unless_it_asks_for_one(load: Load) -> None:
    definitions, project = load("")
    assert not project.of_kind(SmokeTrainLink) and not definitions.resolve_asset_graph().has(KEY)


def test_the_asset_follows_the_mixture_version_by_version(load: Load) -> None:
    definitions, project = load("  smoke_train: {}\n")
    node = definitions.resolve_asset_graph().get(KEY)
    assert node.parent_keys == {dg.AssetKey(["first", "mixed"])} and node.group_name == "first"
    assert node.partitions_def == dg.DynamicPartitionsDefinition(name="first/versions")
    assert [key.name for key in node.check_keys] == ["loss_falls"] and node.automation_condition is not None
    assert project.of_kind(SmokeTrainLink)["first"].parameters.steps == 200


def test_what_it_finds_is_shown_and_blocks_nothing_but_itself(load: Load, store: Store) -> None:
    """One store and three wishes: a fall that no model has, as a reason to refuse and to warn, then a usual one."""
    land(Path(store.landing.path), "web", "2026-01", range(150))
    with dg.DagsterInstance.ephemeral() as instance:

        def run(more: str) -> tuple[Runner, Mapping[str, tuple[str, State]]]:
            definitions, project = load(more)
            runner = Runner(lambda: definitions, instance, store, lambda _: nullcontext())
            runner.bring_up_to_date(list(project.links.values()))
            return runner, states(project_status(project, store))

        runner, found = run(SMOKE + ", min_fall: 99, on_failure: block}\n")
        assert list(runner.failures) == ["first/smoke_train[v1]"]
        assert "loss_falls (the loss went from" in runner.failures["first/smoke_train[v1]"]
        assert found == {"first/mixed": ("v1", State.CURRENT), "first/smoke_train": ("v1", State.REFUSED)}
        assert StoredReport.open(store.report("first/smoke_train", "v1")) is None

        runner, found = run(SMOKE + ", min_fall: 99}\n")
        assert not runner.failures and runner.made == 1
        assert found["first/smoke_train"] == ("v1", State.CURRENT)
        materialization = instance.get_latest_materialization_event(KEY)
        assert materialization is not None and materialization.asset_materialization is not None
        (evaluated,) = instance.all_logs(materialization.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        assert evaluated.dagster_event is not None
        check = evaluated.dagster_event.asset_check_evaluation_data
        assert not check.passed and check.severity is dg.AssetCheckSeverity.WARN
        metadata = materialization.asset_materialization.metadata
        assert "![Loss by step\\, nats](data:image/svg+xml;base64," in str(metadata["report"].value)
        assert metadata["held_out_is"].value == "8 of the 9 rows of the version's validation set"
        assert metadata["held_out_rows_web"].value == 8 and metadata["held_out_tokens_web"].value > 500
        assert 1 < metadata["held_out_bits_per_byte_web"].value < 9 and metadata["tokens_per_second"].value > 0
        assert "20 batches" in metadata["loader"].value

        runner, found = run(SMOKE + ", min_fall: 0.0}\n")
        assert (runner.made, runner.failures) == (0, {})
        runner, found = run(SMOKE.replace("steps: 20", "steps: 25") + "}\n")
        assert runner.made == 1 and len(report(store).results["losses"]) == 25
        assert instance.get_dynamic_partitions("first/versions") == ["v1"]


def report(store: Store) -> StoredReport:
    stored = StoredReport.open(store.report("first/smoke_train", "v1"))
    assert stored is not None
    return stored


WRONG = {
    "a misspelt parameter": ("  smoke_train: {step: 20}\n", ["smoke_train.step at", "no such field", "steps"]),
    "no step": ("  smoke_train: {steps: 0}\n", ["smoke_train.steps at", "greater than or equal to 2"]),
    "heads that do not divide": ("  smoke_train: {width: 10}\n", ["smoke_train at", "divisible by 4 heads"]),
    "something else to do": (
        "  smoke_train: {on_failure: retry}\n",
        ["smoke_train.on_failure at", "'warn' or 'block'"],
    ),
}


@pytest.mark.parametrize(("yaml", "says"), WRONG.values(), ids=WRONG)
def test_wrong_yaml_is_refused_with_line_field_and_reason(load: Load, yaml: str, says: list[str]) -> None:
    with pytest.raises(ComponentTreeException) as caught:
        load(yaml)
    told, error = "", caught.value
    while error is not None:
        told, error = f"{told}\n{error}", error.__cause__
    assert all(part in told for part in [*says, "defs.yaml:7"]), told
