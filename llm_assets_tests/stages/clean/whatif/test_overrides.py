"""Settings: each says what YAML would, or why it cannot be told from what is stored."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from llm_assets.stages.clean.parameters import CleanParameters
from llm_assets.stages.clean.whatif.overrides import OverrideError, overridden

DECLARATION: dict[str, Any] = {
    "quality": [{"model": "good.v2", "min_score": 0.3}, {"model": "good"}],
    "blocklists": [{"name": "spam", "words": "/lists/spam.txt"}],
    "pii": {"email": "drop", "ip": "mask", "phone": "flag", "iban": None},
    "thresholds": {"entropy": {"min": 2.0}},
}
DECLARED = CleanParameters.model_validate(DECLARATION)


def declared(**fields: Any) -> CleanParameters:
    return CleanParameters.model_validate({**DECLARATION, **fields})


@pytest.mark.parametrize(
    ("settings", "same_as"),
    [
        (["gopher_quality.min_words=30"], declared(gopher_quality={"min_words": 30})),
        (["gopher_quality.min_words="], declared(gopher_quality={"min_words": None})),
        (["gopher_quality=null"], declared(gopher_quality=None)),
        (["c4={}"], declared(c4={})),
        (["c4.min_sentences=3"], declared(c4={"min_sentences": 3})),
        (["c4.min_sentences=3", "c4=null"], declared()),
        (["c4=null", "fineweb={max_short_lines: 0.5}"], declared(fineweb={"max_short_lines": 0.5})),
        (["language.min_confidence=0.8"], declared(language={"min_confidence": 0.8})),
        (["language.allow=[en,de]"], declared(language={"allow": ["de", "en"], "min_confidence": None})),
        (["language=null"], declared(language=None)),
        (
            ["quality.good.v2.min_score=0.5"],
            declared(quality=[{"model": "good.v2", "min_score": 0.5}, {"model": "good"}]),
        ),
        (
            ["quality.good.min_score=1"],
            declared(quality=[DECLARATION["quality"][0], {"model": "good", "min_score": 1}]),
        ),
        (["quality=[]"], declared(quality=[])),
        (
            ["blocklists.spam.max_hits=2", "blocklists.spam.action=drop"],
            declared(blocklists=[{**DECLARATION["blocklists"][0], "max_hits": 2, "action": "drop"}]),
        ),
        (["thresholds.entropy.min=3"], declared(thresholds={"entropy": {"min": 3}})),
        (["thresholds.entropy.max=3"], declared(thresholds={"entropy": {"min": 2, "max": 3}})),
        (["thresholds.entropy=null"], declared(thresholds={})),
        (
            ["thresholds.quality.good.min=0.1", "thresholds.pii.email.max=4"],
            declared(thresholds={"entropy": {"min": 2}, "quality.good": {"min": 0.1}, "pii.email": {"max": 4}}),
        ),
        (["pii.email=mask", "pii.ip=drop"], declared(pii={**DECLARATION["pii"], "email": "mask", "ip": "drop"})),
        (
            ["length.min_characters=20000000", "length.max_characters=30000000"],
            declared(length={"min_characters": 20_000_000, "max_characters": 30_000_000}),
        ),
        ([], DECLARED),
    ],
)
def test_a_setting_is_what_yaml_would_say(settings: list[str], same_as: CleanParameters) -> None:
    assert overridden(DECLARED, settings) == same_as


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("x", "'x' is no setting: write"),
        ("=3", "'=3' is no setting"),
        ("nope=3", "nope: there is no field 'nope'; there are: repair, edits, normalise"),
        (
            "gopher_quality.min_word=3",
            "there is no field 'min_word' in gopher_quality; there are: min_words, max_words",
        ),
        ("gopher_quality.min_words.x=3", "gopher_quality.min_words is 50 and has no fields"),
        ("gopher_quality.min_words=abc", "gopher_quality.min_words: Input should be a valid integer"),
        ("gopher_quality.min_words=true", "gopher_quality.min_words: a threshold is a number, or null"),
        ("gopher_quality=[", "gopher_quality: '[' is not YAML"),
        ("gopher_repetition={a: 2}", "gopher_repetition.a: there is no such field"),
        ("quality.bad.min_score=1", "no such entry of quality; there are: good.v2.<field>, good.<field>. A new one"),
        ("quality.good.min_score=2", "quality.good.min_score: Input should be less than or equal to 1 (it is 2)"),
        ("quality.good.v2.min=2", "there is no field 'min' in quality.good.v2; there are: model, min_score"),
        ("blocklists.spam.max_hits=-1", "blocklists.spam.max_hits: Input should be greater than or equal to 0"),
        ("thresholds.entropi.min=1", "there is no statistic 'entropi'; there are: bytes"),
        ("thresholds.words=null", "no such threshold to take away; there are: entropy"),
        ("thresholds.entropy={min: 3, mix: 2}", "thresholds.entropy.mix: there is no such field"),
        ("length.min_characters=20000000", "min_characters (20000000) is above max_characters (10000000)"),
    ],
)
def test_what_is_no_setting_is_refused_with_what_there_is(setting: str, says: str) -> None:
    with pytest.raises(OverrideError) as caught:
        overridden(DECLARED, [setting])
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "setting",
    [
        "repair.mojibake=true",
        "normalise=NFKC",
        "lines.javascript=true",
        "words=punctuation",
        "stop_words=[a]",
        "splits={folds: 3}",
        "language.sample_bytes=1000",
        "language.model=/m.ftz",
        "pii=null",
        "pii.email=flag",
        "pii.email=null",
        "pii.phone=mask",
        "pii.iban=flag",
        "pii.placeholders={ip: <X>}",
        "blocklists.spam.words=/other.txt",
        "blocklists.spam.name=other",
        "quality.good.model=other",
        "quality=[{model: new}]",
    ],
)
def test_what_was_not_measured_is_refused(setting: str) -> None:
    with pytest.raises(OverrideError, match=f"^{setting.split('=')[0].split('.')[0]}: this changes the texts"):
        overridden(DECLARED, [setting])


def test_what_was_not_looked_at_is_not_switched_on() -> None:
    blind = CleanParameters(language=None, pii=None)
    for setting in ("language={}", "language.allow=[en]", "pii={}", "pii.email=drop"):
        with pytest.raises(OverrideError, match="make the partition again"):
            overridden(blind, [setting])


@pytest.mark.parametrize(
    "settings",
    [
        ["quality=5", "quality.x.min_score=1"],
        ["gopher_quality=5", "gopher_quality.min_words=3"],
        ["thresholds=3", "thresholds.entropy.min=3"],
        ["thresholds={entropy: 3}", "thresholds.entropy.min=3"],
        ["blocklists={a: 1}"],
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: list[str]) -> None:
    with pytest.raises(OverrideError):
        overridden(DECLARED, settings)


values = st.one_of(st.none(), st.booleans(), st.integers(-3, 200), st.floats(), st.text(max_size=4), st.just([]))


@given(st.sampled_from(["gopher_quality.min_words", "c4.max_lorem_ipsum", "fineweb.max_short_lines"]), values)
def test_any_value_is_taken_or_refused_as_the_parameters_do(path: str, value: object) -> None:
    group, field = path.split(".")
    text = yaml.safe_dump(value, default_flow_style=True)
    try:
        expected = declared(**{group: {field: yaml.safe_load(text)}})
    except ValidationError:
        with pytest.raises(OverrideError, match=group):
            overridden(DECLARED, [f"{path}={text}"])
        return
    assert isinstance(value, int | float | str | None) and not (isinstance(value, float) and math.isnan(value))
    assert overridden(DECLARED, [f"{path}={text}"]) == expected
