"""What-if against the plain way: cleaning again with the other parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llm_assets.contract.stage import Disposition
from llm_assets.stages.clean.parameters import CleanParameters
from llm_assets.stages.clean.whatif.examples import Example
from llm_assets.stages.clean.whatif.overrides import overridden
from llm_assets.stages.clean.whatif.whatif import CannotTellError, WhatIf, what_if
from llm_assets.store.documents import SnapshotFiles
from llm_assets.store.ledger import Count
from llm_assets_tests.worlds.cleaned_world import CleanedWorld, mixed_texts

CLEAN: dict[str, Any] = {
    "language": {"min_confidence": 0.3},
    "pii": {"email": "mask"},
    "thresholds": {"entropy": {"min": 2.5}},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> CleanedWorld:
    snapshots = {name: mixed_texts(60, seed) for seed, name in enumerate(["2026-01", "2026-02"])}
    return CleanedWorld.below(tmp_path_factory.mktemp("whatif"), snapshots, **CLEAN)


Row = dict[str, Any]


def documents(files: SnapshotFiles) -> Iterator[tuple[bool, Row]]:
    """Whether each was kept, and its row."""
    for disposition in (Disposition.KEPT, Disposition.REJECTED):
        for batch in files.batches(disposition):
            yield from ((disposition is Disposition.KEPT, row) for row in batch.to_pylist())


def counted(rows: list[Row]) -> Count:
    return Count(len(rows), sum(len(row["text"].encode()) for row in rows))


def assert_is_cleaning_again(world: CleanedWorld, found: WhatIf, changed: CleanParameters) -> None:
    before: dict[Any, tuple[bool, Row]] = {}
    after: dict[Any, tuple[bool, Row]] = {}
    for name, snapshot in world.snapshots.items():
        before |= {(name, row["doc_id"]): (kept, row) for kept, row in documents(snapshot)}
        again = world.cleaned_with(changed, name)
        after |= {(name, row["doc_id"]): (kept, row) for kept, row in documents(again)}
        again.discard()
    assert before.keys() == after.keys() and len(before) == found.judged.documents
    assert all(before[key][1]["text"] == after[key][1]["text"] for key in before)
    assert found.kept_before == counted([row for kept, row in before.values() if kept])
    assert found.kept_after == counted([row for kept, row in after.values() if kept])
    moved = {key: (before[key][0], after[key][0]) for key in before}
    assert found.newly_kept == counted([after[key][1] for key in after if moved[key] == (False, True)])
    assert found.newly_dropped == counted([after[key][1] for key in after if moved[key] == (True, False)])

    def first(row: Row) -> str | None:
        return row["reasons"][0]["rule"] if row["reasons"] else None

    pairs = Counter((first(before[key][1]), first(after[key][1])) for key in before)
    for change in found.rules:
        assert change.dropped_before.documents == sum(n for (was, _), n in pairs.items() if was == change.name)
        assert change.dropped_after.documents == sum(n for (_, now), n in pairs.items() if now == change.name)
        assert change.newly_kept.documents == pairs[change.name, None]
        assert change.newly_dropped.documents == pairs[None, change.name]
    by_place = {(name, row["file"], row["record"]): (name, row["doc_id"]) for (name, _), (_, row) in before.items()}
    for example in found.examples:
        assert_is_true(
            example, *(each[by_place[example.snapshot, example.file, example.record]] for each in (before, after))
        )


def assert_is_true(example: Example, before: tuple[bool, Row], after: tuple[bool, Row]) -> None:
    assert (example.kept_before, example.kept_after) == (before[0], after[0])
    assert example.text.split()[:3] == after[1]["text"].split()[:3]
    broken = [{each["rule"]: each["value"] for each in row["reasons"]} for _, row in (before, after)]
    if example.breaks:
        assert {example.value} & {each.get(example.rule) for each in broken}
    else:
        assert not (example.rule in broken[0] and example.rule in broken[1])


thresholds = st.sampled_from(
    [
        "gopher_quality.min_words=30",
        "gopher_quality.min_words=85",
        "gopher_quality.min_stop_words=5",
        "gopher_quality=null",
        "gopher_repetition={}",
        "gopher_repetition.max_duplicate_lines=0.05",
        "c4={}",
        "fineweb={}",
        "length.min_characters=200",
        "length=null",
        "language.allow=[de]",
        "language.allow=[en, de, und]",
        "language.min_confidence=0.9",
        "language=null",
        "pii.email=drop",
        "blocklists.spam.action=drop",
        "blocklists.spam.max_hits=2",
        "blocklists=[]",
        "thresholds.entropy.min=4",
        "thresholds.entropy=null",
        "thresholds.blocklist.spam.max=1",
        "thresholds.pii.email.max=0",
        "thresholds.language_confidence.min=0.5",
    ]
)


@given(st.lists(thresholds, max_size=3, unique_by=lambda setting: setting.split("=")[0].split(".")[0]))
@settings(max_examples=25, deadline=None)
def test_it_is_what_cleaning_again_would_give(world: CleanedWorld, chosen: list[str]) -> None:
    assume(not ("language=null" in chosen and "thresholds.language_confidence.min=0.5" in chosen))  # a contradiction
    declared = world.link.parameters
    changed = overridden(declared, chosen)
    found = what_if(world.snapshots, declared, changed)
    assert found.snapshots == ("2026-01", "2026-02") and found.quarantined == 0 and found.stored_otherwise == ()
    assert [each.name for each in found.rules if each.after] == [rule.name for rule in changed.rules]
    assert [each.name for each in found.rules if each.before] == [rule.name for rule in declared.rules]
    assert_is_cleaning_again(world, found, changed)


def test_examples_are_the_nearest_on_either_side(world: CleanedWorld) -> None:
    declared = world.link.parameters
    changed = overridden(declared, ["gopher_quality.min_words=30", "gopher_repetition={}"])
    found = what_if(world.snapshots, declared, changed, examples=4)
    sides: dict[bool, list[tuple[bool, float]]] = {True: [], False: []}
    for snapshot in world.snapshots.values():
        for _, row in documents(snapshot):
            count = row["statistics"]["non_symbol_words"]
            others = [each for each in row["reasons"] if each["rule"] != "gopher_quality.min_words"]
            repeats = max(
                row["statistics"][rule.statistic] - rule.threshold for rule in changed.rule_groups["gopher_repetition"]
            )
            if count < 50:
                sides[count < 30].append((bool(others) or repeats > 0, abs(count - 30)))
    shown = [each for each in found.examples if each.rule == "gopher_quality.min_words"]
    assert [abs(each.value - 30) for each in shown if each.breaks] == sorted(d for _, d in sides[True])[:4]
    best = sorted(sides[False])[:4]
    assert [abs(each.value - 30) for each in shown if not each.breaks] == [distance for _, distance in best]
    assert [each.kept_before == each.kept_after for each in shown if not each.breaks] == [stays for stays, _ in best]


def test_nothing_changed_shows_no_examples(world: CleanedWorld) -> None:
    found = what_if(world.snapshots, world.link.parameters, world.link.parameters)
    assert found.examples == () and found.newly_kept == found.newly_dropped == Count()
    assert found.kept_before == found.kept_after != Count()


def test_a_rule_that_no_document_breaks_has_no_examples(world: CleanedWorld) -> None:
    found = what_if(world.snapshots, world.link.parameters, overridden(world.link.parameters, ["c4={}"]))
    assert {each.rule for each in found.examples} == {"c4.min_sentences"}


def test_other_languages_are_examples_though_no_threshold_moves(world: CleanedWorld) -> None:
    declared = overridden(world.link.parameters, ["language.allow=[en, de]"])
    found = what_if(world.snapshots, declared, overridden(declared, ["language.allow=[de]"]))
    newly = [each for each in found.examples if each.rule == "language.allow" and each.breaks]
    assert newly and all(each.language == "en" for each in newly)


def test_a_text_is_read_for_examples_only(world: CleanedWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    batches, take = SnapshotFiles.batches, SnapshotFiles.take
    monkeypatch.setattr(
        SnapshotFiles, "batches", lambda self, of, names: read.extend(names) or batches(self, of, names)
    )
    taken: list[int] = []
    monkeypatch.setattr(
        SnapshotFiles, "take", lambda self, of, rows, names: taken.extend(rows) or take(self, of, rows, names)
    )
    found = what_if(world.snapshots, world.link.parameters, overridden(world.link.parameters, ["c4={}"]))
    assert set(read) <= {f"statistics.{name}" for name in _looked_at()} | {"language", "language_confidence"}
    assert 0 < len(taken) <= len(found.examples)


def _looked_at() -> set[str]:
    parameters = CleanParameters.model_validate({**CLEAN, "c4": {}})
    return {"bytes", *(rule.statistic for rule in parameters.rules)}


def test_a_snapshot_made_with_other_parameters_is_told(tmp_path: Path) -> None:
    world = CleanedWorld.below(tmp_path, {"s": mixed_texts(40, 5)}, **CLEAN)
    declared = overridden(world.link.parameters, ["gopher_quality.min_words=80"])
    found = what_if(world.snapshots, declared, declared)
    stored = world.snapshots["s"].manifest.ledger
    (told,) = found.stored_otherwise
    assert told.snapshot == "s" and told.documents == stored.kept.documents - found.kept_before.documents > 0
    assert "gopher_quality.min_words" in told.rules
    harmless = overridden(world.link.parameters, ["length.max_characters=9000000"])
    (told,) = what_if(world.snapshots, harmless, harmless).stored_otherwise
    assert (told.documents, told.rules) == (0, ())


def test_what_a_snapshot_lacks_is_told(tmp_path: Path) -> None:
    world = CleanedWorld.below(tmp_path, {"s": mixed_texts(5, 5)}, language=None)
    declared = CleanParameters.model_validate({"language": {"min_confidence": 0.5}})
    with pytest.raises(CannotTellError, match=r"web/cleaned\[s\] was made without .*language_confidence"):
        what_if(world.snapshots, declared, declared)


def test_a_snapshot_of_another_version_is_refused(world: CleanedWorld) -> None:
    (name, snapshot), *_ = world.snapshots.items()
    older = replace(snapshot, manifest=replace(snapshot.manifest, code_version="3-unicode14.0.0-abc"))
    with pytest.raises(
        CannotTellError, match=r"web/cleaned\[2026-01\] was made by version 3-unicode14.0.0 of cleaning"
    ):
        what_if({name: older}, world.link.parameters, world.link.parameters)


def test_an_empty_side_is_no_error(tmp_path: Path) -> None:
    world = CleanedWorld.below(tmp_path, {"none": [" ", "\n"], "short": ["a b", "c"]}, **CLEAN)
    changed = overridden(world.link.parameters, ["length=null", "gopher_quality=null", "thresholds={}"])
    found = what_if(world.snapshots, world.link.parameters, changed)
    assert found.kept_before == Count()
    assert_is_cleaning_again(world, found, changed)
