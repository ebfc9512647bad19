"""Rule sets: the published numbers, every field a rule, and nonsense refused by the name of its field."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from llm_assets.stages.clean.measure import STATISTICS
from llm_assets.stages.clean.rules import Bound, GopherQuality, LengthRule, Rule, RuleSet
from llm_assets.stages.clean.stage import CleanParameters

PREFIX = "gopher_quality."


def test_published_gopher_rules_in_order() -> None:
    assert list(GopherQuality().rules("gopher_quality")) == [
        Rule(PREFIX + "min_words", "non_symbol_words", Bound.AT_LEAST, 50),
        Rule(PREFIX + "max_words", "non_symbol_words", Bound.AT_MOST, 100_000),
        Rule(PREFIX + "min_mean_word_length", "mean_word_length", Bound.AT_LEAST, 3),
        Rule(PREFIX + "max_mean_word_length", "mean_word_length", Bound.AT_MOST, 10),
        Rule(PREFIX + "max_symbol_word_ratio.hash_ratio", "hash_ratio", Bound.AT_MOST, 0.1),
        Rule(PREFIX + "max_symbol_word_ratio.ellipsis_ratio", "ellipsis_ratio", Bound.AT_MOST, 0.1),
        Rule(PREFIX + "max_bullet_lines", "bullet_line_fraction", Bound.AT_MOST, 0.9),
        Rule(PREFIX + "max_ellipsis_lines", "ellipsis_line_fraction", Bound.AT_MOST, 0.3),
        Rule(PREFIX + "min_alphabetic_words", "alphabetic_word_fraction", Bound.AT_LEAST, 0.8),
        Rule(PREFIX + "min_stop_words", "stop_words", Bound.AT_LEAST, 2),
    ]


@pytest.mark.parametrize("rule_set", [GopherQuality(), LengthRule()])
def test_every_field_is_a_rule_on_a_measured_statistic(rule_set: RuleSet) -> None:
    rules = list(rule_set.rules("set"))
    assert {rule.name.split(".")[1] for rule in rules} == set(type(rule_set).model_fields)
    assert {rule.statistic for rule in rules} <= {each.name for each in STATISTICS}
    assert len({rule.name for rule in rules}) == len(rules)
    assert all(rule.name.startswith(f"set.{'min' if rule.bound is Bound.AT_LEAST else 'max'}_") for rule in rules)


@pytest.mark.parametrize("field", GopherQuality.model_fields)
def test_null_switches_off_that_rule_alone(field: str) -> None:
    names = {rule.name for rule in GopherQuality().rules("g")}
    left = {rule.name for rule in GopherQuality.model_validate({field: None}).rules("g")}
    assert left == {name for name in names if name.split(".")[1] != field}


def test_minimum_and_maximum_may_meet() -> None:
    thresholds = [rule.threshold for rule in LengthRule(min_characters=7, max_characters=7).rules("length")]
    assert thresholds == [7, 7]


def test_zero_is_a_threshold() -> None:
    thresholds = {rule.name: rule.threshold for rule in GopherQuality(max_symbol_word_ratio=0).rules("g")}
    assert thresholds["g.max_symbol_word_ratio.hash_ratio"] == 0


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"gopher_quality": {"min_words": -1}}, "gopher_quality.min_words"),
        ({"gopher_quality": {"min_words": 2.5}}, "gopher_quality.min_words"),
        ({"gopher_quality": {"min_words": True}}, "gopher_quality.min_words"),
        ({"gopher_quality": {"min_words": "many"}}, "gopher_quality.min_words"),
        ({"gopher_quality": {"min_words": 60, "max_words": 50}}, r"min_words \(60\) is above max_words \(50\)"),
        ({"gopher_quality": {"min_mean_word_length": 11}}, r"min_mean_word_length \(11.0\) is above max_mean"),
        ({"gopher_quality": {"max_mean_word_length": float("inf")}}, "gopher_quality.max_mean_word_length"),
        ({"gopher_quality": {"max_bullet_lines": 1.01}}, "gopher_quality.max_bullet_lines"),
        ({"gopher_quality": {"min_alphabetic_words": float("nan")}}, "gopher_quality.min_alphabetic_words"),
        ({"gopher_quality": {"min_wrods": 3}}, "gopher_quality.min_wrods"),
        ({"length": {"min_characters": -1}}, "length.min_characters"),
        ({"length": {"min_characters": 11, "max_characters": 10}}, r"min_characters \(11\) is above"),
        ({"normalise": "NFD"}, "normalise"),
        ({"stop_words": []}, "stop_words is empty"),
        ({"stop_words": ["of the"]}, "stop word 'of the' is not one word"),
        ({"stop_words": [str(number) for number in range(65)]}, "65 stop words"),
    ],
)
def test_nonsense_is_refused_by_name(parameters: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        CleanParameters.model_validate(parameters)


def test_rules_of_the_parameters_stand_in_the_order_of_the_sets() -> None:
    names = [rule.name for rule in CleanParameters().rules]
    assert names[:3] == ["length.min_characters", "length.max_characters", "gopher_quality.min_words"]
    assert [rule.name for rule in CleanParameters(gopher_quality=None).rules] == names[:2]
    assert CleanParameters(gopher_quality=None, length=None).rules == ()
    assert CleanParameters.model_validate({"gopher_quality": {"min_words": 30}}).rules[2].threshold == 30
