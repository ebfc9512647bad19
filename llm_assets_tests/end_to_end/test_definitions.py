from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster.components.core.component_tree import ComponentTreeException

from llm_assets.components import CorpusSource, Mixture, QualityModel, Tokenizer
from llm_assets.definitions import build_defs
from llm_assets_tests.end_to_end.projects import DECLARATIONS, MIXTURE, SOURCE, TOKENIZER, write_project
from llm_assets_tests.end_to_end.servers import Place

COMPONENTS = [CorpusSource, Tokenizer, QualityModel, Mixture]
Load = Callable[[Mapping[str, str]], dg.Definitions]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.make(tmp_path / "place")


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """The definitions of a project with the usual declarations and others in their place."""
    monkeypatch.setenv("LLM_ASSETS_ROOT", str(tmp_path / "store"))

    def loaded(changes: Mapping[str, str]) -> dg.Definitions:
        module = f"corpora_{next(NUMBERS)}"
        project = write_project(tmp_path / module, module, {**DECLARATIONS, **changes})
        monkeypatch.syspath_prepend(str(project))
        return build_defs(project=project)

    return loaded


NUMBERS = count()
"""Modules are imported once for a name, so every project has another."""


def causes(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield str(error)
        error = error.__cause__


# --- the demonstration ---------------------------------------------------------------------------------------------


def test_the_demonstration_has_both_chains_the_tokenizer_and_the_mixture() -> None:
    keys = {key.to_user_string() for key in build_defs().resolve_asset_graph().get_all_asset_keys()}
    chains = {f"{source}/{stage}" for source in ("docs", "code") for stage in CHAIN}
    assert keys == chains | {"tokenizers/demo_bpe", "demo/mixed"}


CHAIN = ("raw", "cleaned", "deduped", "tokenized", "packed")


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [["dagster", "definitions", "validate"], ["dg", "check", "defs", "--check-yaml"], ["dg", "check", "yaml"]],
    ids=" ".join,
)
def test_the_demonstration_is_valid(place: Place, command: list[str]) -> None:
    result = place.run(*command)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"All (code locations passed|component YAML validated)", result.stdout + result.stderr)


@pytest.mark.slow
def test_dg_lists_the_components_with_what_they_are(place: Place) -> None:
    result = place.run("dg", "list", "components", "--json")
    assert result.returncode == 0, result.stderr
    listed = {entry["key"]: entry["summary"] for entry in json.loads(result.stdout)["items"]}
    for component in COMPONENTS:
        summary = listed[f"llm_assets.components.{component.__name__}"]
        assert component.__doc__ is not None and summary.split() == component.__doc__.split("\n\n")[0].split()


# --- a project of one's own ----------------------------------------------------------------------------------------


def test_definitions_of_another_project_are_its_own(load: Load) -> None:
    graph = load({}).resolve_asset_graph()
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == {
        *(f"web/{stage}" for stage in CHAIN),
        "tokenizers/bytes_and_more",
        "first/mixed",
    }


@pytest.mark.slow
def test_scaffolded_components_make_a_project(tmp_path: Path, place: Place) -> None:
    """What `dg scaffold defs` writes is valid as it is, but for the names of what it refers to."""
    project = write_project(tmp_path / "project", "corpora_scaffolded", {})
    for component, name in [("CorpusSource", "wiki"), ("CorpusSource", "papers"), ("Tokenizer", "bpe")]:
        scaffold(place, project, component, name)
    scaffold(place, project, "QualityModel", "good")
    scaffold(place, project, "Mixture", "first")
    checked = place.run("dg", "check", "yaml", cwd=project)
    assert checked.returncode == 0, checked.stdout
    refused = place.run("dg", "check", "defs", cwd=project)
    assert refused.returncode == 1 and "no source 'name_of_a_source' is declared; there are: papers, wiki" in (
        refused.stdout + refused.stderr
    )
    for file in project.rglob("defs.yaml"):
        text = file.read_text()
        for placeholder, name in NAMES.items():
            text = text.replace(placeholder, name)
        file.write_text(text)
    accepted = place.run("dg", "check", "defs", cwd=project)
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr


NAMES = {"name_of_a_source": "wiki", "name_of_another": "papers", "name_of_a_tokenizer": "bpe"}


def scaffold(place: Place, project: Path, component: str, name: str) -> None:
    result = place.run("dg", "scaffold", "defs", f"llm_assets.components.{component}", name, cwd=project)
    assert result.returncode == 0, result.stdout + result.stderr
    written = yaml.safe_load((project / "corpora_scaffolded" / "defs" / name / "defs.yaml").read_text())
    assert written["type"] == f"llm_assets.components.{component}" and written["attributes"]["name"] == name


# --- wrong YAML ----------------------------------------------------------------------------------------------------

WRONG = {
    "a value of the wrong type": (
        {"web": SOURCE.replace("128", "lots")},
        ["pack.sequence_length at", "web/defs.yaml:7", "valid integer", "'lots'"],
    ),
    "a mapping where there must be a number": (
        {"first": MIXTURE + "  seed: {a: 1}\n"},
        ["seed at", "first/defs.yaml:7", "valid integer"],
    ),
    "text where there must be parameters": (
        {"web": SOURCE + "  clean: thoroughly\n"},
        ["clean at", "web/defs.yaml:8", "Input should be an object", "'thoroughly'"],
    ),
    "text where there must be a number": (
        {"first": MIXTURE + "  max_repetitions: often\n"},
        ["first/defs.yaml:7: max_repetitions: Input should be a valid number", "(it is 'often')"],
    ),
    "an unknown field": (
        {"web": SOURCE + "  tokeniser: gpt2\n"},
        ["tokeniser at", "web/defs.yaml:8", "there is no such field; there are: name, description, owners"],
    ),
    "an unknown field of parameters": (
        {"web": SOURCE + "    length: 7\n"},
        ["pack.length at", "web/defs.yaml:8", "there is no such field; there are: sequence_length, seed"],
    ),
    "a misspelt rule": (
        {"web": SOURCE + "  clean:\n    gopher_qualty: {min_words: 3}\n"},
        [
            "clean.gopher_qualty at",
            "web/defs.yaml:9",
            "there is no such field; there are: ",
            "normalise",
            "gopher_quality",
        ],
    ),
    "a misspelt threshold": (
        {"web": SOURCE + "  clean:\n    gopher_quality:\n      min_word: 3\n"},
        ["clean.gopher_quality.min_word at", "web/defs.yaml:10", "no such field; there are: min_words, "],
    ),
    "a threshold out of range": (
        {"web": SOURCE + "  checks:\n    max_quarantine_rate: 5\n"},
        ["checks.max_quarantine_rate at", "web/defs.yaml:9", "less than or equal to 1"],
    ),
    "a row of no tokens": (
        {"web": SOURCE.replace("128", "0")},
        ["pack.sequence_length at", "web/defs.yaml:7", "greater than 0"],
    ),
    "a missing field": (
        {"web": SOURCE.replace("  tokenizer: bytes_and_more\n", "")},
        ["tokenizer at", "web/defs.yaml:3", "Field required"],
    ),
    "no attributes": (
        {"web": "type: llm_assets.components.CorpusSource\n"},
        ["web/defs.yaml:1: name: Field required", "web/defs.yaml:1: pack: Field required"],
    ),
    "a name that is none": (
        {"web": SOURCE.replace("name: web", "name: the web")},
        ["name at", "web/defs.yaml:4", "String should match pattern", "'the web'"],
    ),
    "a name that is taken": (
        {"web": SOURCE.replace("name: web", "name: tokenizers")},
        ["web/defs.yaml:4: name: 'tokenizers' is where all tokenizers are"],
    ),
    "a negative share": (
        {"first": MIXTURE.replace("1", "-1")},
        ["first/defs.yaml:6: shares.web: Input should be greater than or equal to 0", "(it is -1.0)"],
    ),
    "only shares of nothing": (
        {"first": MIXTURE.replace("1", "0")},
        ["first/defs.yaml:5: shares: ", "(it is {'web': 0.0})"],
    ),
    "no repetition at all": (
        {"first": MIXTURE + "  max_repetitions: 0\n"},
        ["first/defs.yaml:7: max_repetitions: Input should be greater than 0"],
    ),
    "an unknown tokenizer": (
        {"web": SOURCE.replace("bytes_and_more", "gpt2")},
        ["web/defs.yaml:5: tokenizer: no tokenizer 'gpt2' is declared; there are: bytes_and_more"],
    ),
    "a mixture of an undeclared source": (
        {"first": MIXTURE + "    wiki: 1\n"},
        ["first/defs.yaml:7: shares.wiki: no source 'wiki' is declared; there are: web"],
    ),
    "a tokenizer for an undeclared source": (
        {"bytes_and_more": TOKENIZER.replace("[web]", "[web, wiki]")},
        ["bytes_and_more/defs.yaml:6: train.sources: no source 'wiki' is declared; there are: web"],
    ),
    "a tokenizer trained and taken": (
        {"bytes_and_more": TOKENIZER + "  path: tokenizer.json\n"},
        ["bytes_and_more/defs.yaml:8: path: give either `train` or `path`, and not both"],
    ),
    "a tokenizer from nowhere": (
        {"bytes_and_more": "\n".join(TOKENIZER.splitlines()[:4])},
        ["bytes_and_more/defs.yaml:3: path: give either `train` or `path`"],
    ),
    "a vocabulary without merges": (
        {"bytes_and_more": TOKENIZER.replace("300", "256")},
        ["train.vocabulary_size at", "bytes_and_more/defs.yaml:7", "greater than or equal to 258"],
    ),
    "a score of an undeclared model": (
        {"web": SOURCE + "  clean: {quality: [{model: good}]}\n"},
        ["web/defs.yaml:8: clean.quality.0.model: no quality model 'good' is declared; there are: none"],
    ),
    "a threshold on what is not measured": (
        {"web": SOURCE + "  clean:\n    thresholds: {sentiment: {min: 1}}\n"},
        ["web/defs.yaml:8", "there is no statistic 'sentiment'; there are: bytes, characters"],
    ),
    "rows of two lengths in a mixture": (
        {
            "wiki": SOURCE.replace("web", "wiki").replace("128", "64"),
            "first": MIXTURE + "    wiki: 1\n",
        },
        ["first/defs.yaml:5: shares: all sources must have rows of one kind", "64 tokens", "128 tokens"],
    ),
    "two sources of one name": (
        {"web_again": SOURCE},
        ["web_again/defs.yaml:4: name: another source is called 'web', declared in", "web/defs.yaml:4"],
    ),
    "two tokenizers of one name": (
        {"zzz": TOKENIZER},
        ["zzz/defs.yaml:4: name: another tokenizer is called 'bytes_and_more', declared in"],
    ),
    "two mixtures of one name": (
        {"second": MIXTURE},
        ["second/defs.yaml:4: name: another mixture is called 'first', declared in"],
    ),
    "an owner who is nobody": (
        {"web": SOURCE + "  owners: [nobody]\n"},
        ["web/defs.yaml:3: Invalid owner 'nobody'"],
    ),
}


@pytest.mark.parametrize(("changes", "says"), WRONG.values(), ids=WRONG)
def test_wrong_yaml_is_refused_with_file_line_field_and_reason(
    load: Load, changes: Mapping[str, str], says: list[str]
) -> None:
    with pytest.raises(ComponentTreeException) as caught:
        load(changes)
    told = "\n".join(causes(caught.value))
    assert all(part in told for part in says), told


def test_everything_wrong_in_a_file_is_told_at_once(load: Load) -> None:
    wrong = SOURCE.replace("128", "0") + "  clean: {length: {min_characters: -1}}\n  colour: red\n"
    with pytest.raises(ComponentTreeException) as caught:
        load({"web": wrong})
    told = "\n".join(causes(caught.value))
    assert re.findall(r"attributes\.(\S+) at \S+/web/defs\.yaml:(\d+)", told) == [
        ("pack.sequence_length", "7"),
        ("clean.length.min_characters", "8"),
        ("colour", "9"),
    ]
    assert "valid string" not in told, "that a value is no template either helps nobody"


def test_yaml_that_does_not_parse_is_refused_with_file_and_line(load: Load) -> None:
    with pytest.raises(yaml.YAMLError) as caught:
        load({"web": SOURCE + " : : [\n"})
    assert re.search(r'/web/defs\.yaml", line 8', str(caught.value))


def test_a_template_is_filled_in(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_OWNERS", "team:web")
    defs = load({"web": SOURCE + '  owners: ["{{ env.MY_OWNERS }}"]\n'})
    spec = defs.resolve_asset_graph().get(dg.AssetKey(["web", "raw"]))
    assert spec.owners == ["team:web"]


@pytest.mark.parametrize("component", COMPONENTS)
def test_the_schema_names_no_alternatives(component: type[Any]) -> None:
    """`dg check yaml` can tell which of several alternatives was meant as little as a person can from its message."""
    schema = component.get_model_cls().model_json_schema()
    assert "anyOf" not in json.dumps(schema) and "$ref" not in json.dumps(schema)
    assert all(field["description"] for field in schema["properties"].values())


@pytest.mark.slow
def test_dg_check_yaml_says_which_field_and_why(tmp_path: Path, place: Place) -> None:
    wrong = {
        "web": SOURCE.replace("128", "0") + "  clean: {gopher_quality: {min_word: 3}}\n",
        "first": MIXTURE.replace("1", "much"),
    }
    project = write_project(tmp_path / "project", "corpora_unchecked", {**DECLARATIONS, **wrong})
    result = place.run("dg", "check", "yaml", cwd=project)
    assert result.returncode == 1 and "any of the given schemas" not in result.stdout
    for told in [
        r"web/defs\.yaml:7 - \S+ attributes\.pack\.sequence_length 0 is less than or equal to the minimum of 0",
        r"web/defs\.yaml:8 - \S+ attributes\.clean\.gopher_quality\S* .*\('min_word' was unexpected\)",
        r"first/defs\.yaml:6 - \S+ attributes\.shares\.web 'much' is not of type 'number'",
    ]:
        assert re.search(told, result.stdout), result.stdout
