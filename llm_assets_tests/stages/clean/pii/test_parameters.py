"""What YAML may say, and the error for what it may not."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from llm_assets.stages.clean.pii.parameters import Action, PiiParameters, PresidioParameters
from llm_assets.stages.clean.pii.spans import PATTERN_KINDS, Kind


def test_by_default_every_kind_with_a_pattern_is_masked() -> None:
    parameters = PiiParameters()
    assert set(parameters.kinds()) == set(parameters.kinds(Action.MASK)) == set(PATTERN_KINDS)
    assert parameters.placeholder(Kind.US_SSN) == "<US_SSN>"


def test_actions_by_kind() -> None:
    parameters = PiiParameters.model_validate({"email": "flag", "iban": "drop", "api_key": "drop", "ip": None})
    assert parameters.kinds(Action.FLAG) == (Kind.EMAIL,)
    assert parameters.kinds(Action.DROP) == (Kind.IBAN, Kind.API_KEY)
    assert Kind.IP not in parameters.kinds()
    assert Kind.IP not in parameters.kinds(*Action)


@pytest.mark.parametrize("text", ["<mail>", "[EMAIL]", "{{EMAIL}}", "{x}", "<|email address|>", "<téléphone>"])
def test_placeholders_stand_in_brackets(text: str) -> None:
    assert PiiParameters(placeholders={Kind.EMAIL: text}).placeholder(Kind.EMAIL) == text


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"placeholders": {"email": ""}}, "must stand in"),
        ({"placeholders": {"email": "EMAIL"}}, "must stand in"),
        ({"placeholders": {"email": "<EMAIL]"}}, "must stand in"),
        ({"placeholders": {"email": "<a> <b>"}}, "must stand in"),
        ({"placeholders": {"email": "<nobody@example.com>"}}, "taken for PII itself"),
        ({"placeholders": {"email": "<-----BEGIN PRIVATE KEY----->"}}, "taken for PII itself"),
        ({"placeholders": {"fax": "<FAX>"}}, "Input should be"),
        ({"email": "hide"}, "Input should be"),
        ({"e-mail": "mask"}, "Extra inputs"),
        ({"person": "mask"}, "nothing finds person"),
        ({"engine": "presidio"}, "say in the field presidio"),
        ({"presidio": {"model": "m"}}, "set engine to presidio"),
        ({"engine": "presidio", "presidio": {}}, "a blank pipeline finds no person and no location"),
        ({"engine": "presidio", "presidio": {"kinds": []}}, "kinds is empty"),
        ({"engine": "presidio", "presidio": {"kinds": ["api_key"]}}, "no API keys"),
        ({"engine": "presidio", "person": "mask", "presidio": {"kinds": ["email"]}}, "nothing finds person"),
    ],
)
def test_what_cannot_be_carried_out_is_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PiiParameters.model_validate(parameters)


def test_names_with_a_model() -> None:
    parameters = PiiParameters(engine="presidio", person=Action.MASK, presidio=PresidioParameters(model="some_model"))
    assert Kind.PERSON in parameters.kinds()


def test_parameters_round_trip_as_json() -> None:
    parameters = PiiParameters(placeholders={Kind.EMAIL: "[E]"}, phone=Action.DROP)
    assert PiiParameters.model_validate_json(parameters.model_dump_json()) == parameters
