"""Rule sets: the published numbers, every field a rule, and nonsense refused by the name of its field."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from llm_assets.stages.clean.measure.statistics import STATISTICS
from llm_assets.stages.clean.parameters import CleanParameters
from llm_assets.stages.clean.published_rules import C4, FineWeb, GopherQuality, GopherRepetition
from llm_assets.stages.clean.rules import Bound, LengthRule, Rule, RuleSet

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


def test_published_thresholds_of_the_other_sets() -> None:
    def thresholds(rule_set: RuleSet) -> list[tuple[str, float]]:
        return [(rule.statistic, rule.threshold) for rule in rule_set.rules("set")]

    assert thresholds(GopherRepetition()) == [
        ("duplicate_line_fraction", 0.3),
        ("duplicate_paragraph_fraction", 0.3),
        ("duplicate_line_character_fraction", 0.2),
        ("duplicate_paragraph_character_fraction", 0.2),
        ("top_2_gram_character_fraction", 0.2),
        ("top_3_gram_character_fraction", 0.18),
        ("top_4_gram_character_fraction", 0.16),
        *[(f"duplicate_{n}_gram_character_fraction", round(0.2 - n / 100, 2)) for n in range(5, 11)],
    ]
    assert thresholds(C4()) == [("sentences", 5), ("curly_brackets", 0), ("lorem_ipsum", 0)]
    assert thresholds(FineWeb()) == [
        ("punctuated_line_fraction", 0.12),
        ("short_line_fraction", 0.67),
        ("repeated_line_character_fraction", 0.01),
        ("newline_ratio", 0.3),
    ]


@pytest.mark.parametrize("rule_set", [GopherQuality(), LengthRule(), GopherRepetition(), C4(), FineWeb()])
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
        ({"repair": {"mojibake": "perhaps"}}, "repair.mojibake"),
        ({"lines": {"min_words": 0}}, "lines.min_words"),
        ({"thresholds": {"sentiment": {"min": 1}}}, "there is no statistic 'sentiment'; there are: bytes,"),
        ({"thresholds": {"entropy": {}}}, "thresholds.entropy\n.*neither min nor max is given"),
        ({"thresholds": {"entropy": {"min": 3, "max": 2}}}, r"min \(3.0\) is above max \(2.0\)"),
        ({"thresholds": {"entropy": {"min": float("nan")}}}, "thresholds.entropy.min"),
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


def test_free_thresholds_are_rules_too() -> None:
    parameters = CleanParameters.model_validate(
        {"length": None, "gopher_quality": None, "c4": {}, "thresholds": {"entropy": {"min": 3}, "urls": {"max": 9}}}
    )
    assert [rule.name for rule in parameters.rules][:3] == [f"c4.{field}" for field in C4.model_fields]
    assert parameters.rules[3:] == (
        Rule("thresholds.entropy.min", "entropy", Bound.AT_LEAST, 3),
        Rule("thresholds.urls.max", "urls", Bound.AT_MOST, 9),
    )
