"""Statistics and edits of users: what they do is what any of the project's own would have done."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from llm_assets.contract.stage import Disposition
from llm_assets.stages.clean.findings import columns_of
from llm_assets.stages.clean.parameters import CleanParameters
from llm_assets.stages.clean.report import describe_cleaned
from llm_assets.stages.clean.stage import PROCESSING_ERROR, CleanStage
from llm_assets.stages.clean.whatif.overrides import OverrideError, overridden
from llm_assets.stages.clean.whatif.whatif import what_if
from llm_assets.store.ledger import Count
from llm_assets_tests.stages.clean.custom_code import HERE
from llm_assets_tests.stages.clean.odd_text import odd_texts, raw_batch
from llm_assets_tests.worlds.cleaned_world import CleanedWorld, mixed_texts

NO_RULES: dict[str, Any] = {"length": None, "language": None, "pii": None, "gopher_quality": None}


def plugin(of: str, **parameters: Any) -> dict[str, Any]:
    return {"use": f"{HERE}:{of}", "name": of.lower(), **parameters}


def stage(**parameters: Any) -> CleanStage:
    return CleanStage(CleanParameters.model_validate({**NO_RULES, **parameters}))


def rows_of(stage: CleanStage, *batches: pa.RecordBatch) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {each.value: [] for each in Disposition}
    for output in stage.process(batches):
        for disposition, batch in output.rows.items():
            rows[disposition.value] += batch.to_pylist()
    return rows


MEASURED = stage(statistics=[plugin("Shouting"), plugin("Fields")], thresholds={"custom.shouting": {"max": 0.3}})


@given(odd_texts, st.integers(1, 3))
def test_a_statistic_is_stored_and_judged(texts: list[str], cut: int) -> None:
    whole = raw_batch([*texts, "ÄÖÜ ab", "straße"])
    rows = rows_of(MEASURED, whole)
    assert rows == rows_of(MEASURED, whole.slice(0, cut), whole.slice(cut))
    metadata = {row["record"]: row["metadata"] for row in whole.to_pylist()}
    for disposition in ("kept", "rejected"):
        for row in rows[disposition]:
            letters = [each for each in row["text"] if each.isalpha()]
            shouting = sum(each.isupper() for each in letters) / max(1, len(letters))
            fields = len((metadata[row["record"]] or "").encode())
            assert row["scores"] == [
                {"statistic": "custom.shouting", "value": shouting},
                {"statistic": "custom.fields", "value": fields},
            ]
            broken = [{"rule": "thresholds.custom.shouting.max", "value": shouting, "threshold": 0.3}]
            assert row["reasons"] == (broken if shouting > 0.3 else [])
            assert (disposition == "rejected") == (shouting > 0.3)
    assert len(rows["kept"]) + len(rows["rejected"]) == len(whole) and rows["rejected"]


@given(odd_texts)
def test_an_edit_comes_before_the_normal_form_and_is_counted(texts: list[str]) -> None:
    texts = [*texts, "plain e\r\nand more"]
    (output,) = stage(edits=[plugin("Decompose")]).process([raw_batch(texts)])
    expected = [text.replace("e", "e\u0301") for text in texts]
    assert output.rows[Disposition.KEPT]["text"].to_pylist() == [
        unicodedata.normalize("NFC", each) for each in expected
    ]
    changed = [text for text in texts if "e" in text]
    grown = sum(2 * text.count("e") for text in changed)
    assert output.ledger.edits["custom.decompose"] == Count(len(changed), grown)


def test_an_edit_that_changes_nothing_is_not_counted() -> None:
    (output,) = stage(edits=[plugin("Decompose")]).process([raw_batch(["nothing of that kind, at all"])])
    assert dict(output.ledger.edits) == {}


def test_what_an_edit_brings_to_light_is_masked() -> None:
    pii = {"email": "mask"}
    rows = rows_of(
        stage(edits=[plugin("Reveal")], pii=pii), raw_batch(["mail me at zoë or zoe at home dot org, please"])
    )
    assert rows["kept"][0]["text"] == "mail me@zoë or <EMAIL>, please"


@pytest.mark.parametrize(
    ("field", "name", "why"),
    [("statistics", "Allergic", "ZeroDivisionError: .*zero"), ("edits", "AllergicEdit", "AttributeError: 'NoneType'")],
)
@given(texts=odd_texts)
def test_an_error_puts_the_document_into_quarantine_and_says_whose_it_was(
    field: str, name: str, why: str, texts: list[str]
) -> None:
    allergic = stage(**{field: [plugin(name, word="nuts ")]})
    batch = raw_batch(["may have traces of nuts or none", *texts, "no nut at all"])
    rows = rows_of(allergic, batch)
    assert [row["text"] for row in rows["quarantined"]] == ["may have traces of nuts or none"]
    error = rows["quarantined"][0]["error"]
    assert re.match(f"PluginFailedError: {HERE}:{name}, version 7, failed: {why}", error)
    others = rows_of(allergic, batch.slice(1))
    assert {key: others[key] for key in ("kept", "rejected")} == {key: rows[key] for key in ("kept", "rejected")}
    quarantined = sum(
        output.ledger.quarantined.get(PROCESSING_ERROR, Count()).documents for output in allergic.process([batch])
    )
    assert quarantined == 1


@pytest.mark.parametrize(
    ("field", "given_back", "why"),
    [
        ("statistics", plugin("Wrong", gives=[float("nan")]), "it gave nan, not a finite number"),
        ("statistics", plugin("Wrong", gives=[1.0, 2.0]), "it gave float64 \\[2\\], not float64 \\[1\\]"),
        ("statistics", plugin("Wrong", gives=["high"]), "it gave <U4 \\[1\\], not float64"),
        ("statistics", plugin("Wrong", gives=None), "it gave object \\[\\], not float64"),
        ("edits", plugin("WrongEdit", gives=[None]), "ArrowNotImplementedError|1 of them null|null"),
        ("edits", plugin("WrongEdit", gives=["a", "b"]), "it gave 2 texts, 0 of them null, for 1"),
        ("edits", plugin("InvalidText"), "[Uu][Tt][Ff]-?8"),
    ],
)
def test_what_is_no_number_and_no_text_is_an_error_of_whose_it_is(
    field: str, given_back: dict[str, Any], why: str
) -> None:
    (row,) = rows_of(stage(**{field: [given_back]}), raw_batch(["a text"]))["quarantined"]
    assert re.match(f"PluginFailedError: {given_back['use']}, version 1, failed: .*({why})", row["error"])


def test_an_error_that_is_not_about_the_document_ends_the_run() -> None:
    with pytest.raises(FileNotFoundError) as raised:
        rows_of(stage(statistics=[plugin("Offline")]), raw_batch(["a text"]))
    assert raised.value.__notes__ == [f"raised by {HERE}:Offline, version 1"]


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"statistics": [plugin("Shouting"), plugin("Shouting")]}, "named twice: shouting"),
        ({"edits": [plugin("Reveal"), plugin("Reveal")]}, "named twice: reveal"),
        ({"statistics": [plugin("Reveal")]}, "no subclass of .*Statistic"),
        ({"edits": [plugin("Shouting")]}, "no subclass of .*Edit"),
        ({"statistics": [plugin("Shouting", name="a b")]}, "should match pattern"),
        ({"thresholds": {"custom.shouting": {"max": 1}}}, "no statistic 'custom.shouting'"),
    ],
)
def test_what_cannot_be_declared(parameters: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        CleanParameters.model_validate(parameters)


def test_the_code_version_is_as_it_was_without_them_and_another_with_other_ones() -> None:
    plain = CleanParameters()
    assert not {"edits", "statistics"} & json.loads(plain.model_dump_json()).keys()
    versions = [
        each.code_version
        for each in (
            stage(),
            stage(statistics=[plugin("Shouting")]),
            stage(statistics=[plugin("Shouting", least_letters=2)]),
            stage(statistics=[plugin("Shouting", name="loud")]),
            stage(edits=[plugin("Reveal")]),
            stage(edits=[plugin("Reveal"), plugin("Decompose")]),
            stage(edits=[plugin("Decompose"), plugin("Reveal")]),
        )
    ]
    assert len(set(versions)) == len(versions)


CLEAN: dict[str, Any] = {
    **NO_RULES,
    "statistics": [plugin("Shouting"), plugin("Fields")],
    "thresholds": {"custom.shouting": {"max": 0.05}},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> CleanedWorld:
    texts = [*mixed_texts(40, 5), *(f"SHOUTED {number} Café" for number in range(9))]
    return CleanedWorld.below(tmp_path_factory.mktemp("custom"), {"s": texts}, **CLEAN)


def test_whatif_judges_by_it(world: CleanedWorld) -> None:
    declared = world.link.parameters
    changed = overridden(declared, ["thresholds.custom.shouting.max=0.6"])
    found = what_if(world.snapshots, declared, changed)
    again = world.cleaned_with(changed, "s")
    kept = again.manifest.ledger.kept.documents
    again.discard()
    assert found.kept_after.documents == kept > found.kept_before.documents
    assert {each.rule for each in found.examples} == {"thresholds.custom.shouting.max"}


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("statistics.shouting.least_letters=3", "^statistics: this changes the texts"),
        ("statistics.shouting.version=3", "version 3 is asked for"),
        ("statistics.shouting.lest=3", "there are: name, use, version, least_letters"),
        ("statistics=[]", "no statistic 'custom.shouting'"),
        ("edits.reveal.name=x", "no such entry of edits; there are: none"),
        (f"edits=[{{use: {HERE}:Reveal, name: x}}]", "^edits: this changes the texts"),
    ],
)
def test_settings_do_not_change_what_is_measured(world: CleanedWorld, setting: str, says: str) -> None:
    with pytest.raises(OverrideError, match=says):
        overridden(world.link.parameters, [setting])


def test_one_that_no_rule_looks_at_may_be_left_out(world: CleanedWorld) -> None:
    changed = overridden(world.link.parameters, ["thresholds={}", "statistics=[]"])
    assert changed.statistics == ()


def test_it_is_shown(world: CleanedWorld) -> None:
    snapshot = world.snapshots["s"]
    ledger = snapshot.manifest.ledger
    shown = describe_cleaned(snapshot, snapshot.size, ledger, world.link.parameters)
    histogram = shown.histograms["Documents by custom.shouting"]
    rejected = ledger.dropped["thresholds.custom.shouting.max"].documents
    assert rejected >= 9
    assert histogram.counts["kept"].sum() == ledger.kept.documents
    assert histogram.counts["rejected"].sum() == rejected
    assert columns_of(["custom.shouting", "words"]) == ["scores", "statistics.words"]
