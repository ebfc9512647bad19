"""Masks, drops and flags as the parameters say, with the counts of each, and no PII in anything but flagged text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.stages.clean.pii.apply import apply
from llm_assets.stages.clean.pii.parameters import Action, PiiParameters
from llm_assets.stages.clean.pii.spans import COUNTS_TYPE, KINDS, PATTERN_KINDS, Kind
from llm_assets.store.ledger import Count
from llm_assets_tests.stages.clean.odd_text import column
from llm_assets_tests.stages.clean.pii.oracle import everything, matches
from llm_assets_tests.stages.clean.pii.planted import mixtures

TEXTS = ["a@b.com and c@d.org", "", "card 4111111111111111, 201-555-0123", "nothing", "a@b.com"]


def test_masked_dropped_and_flagged() -> None:
    result = apply(column(TEXTS, 1, 1), PiiParameters(credit_card=Action.DROP, phone=Action.FLAG))
    assert result.texts.to_pylist() == [
        *["<EMAIL> and <EMAIL>", "", "card <CREDIT_CARD>, 201-555-0123", "nothing", "<EMAIL>"]
    ]
    assert result.counts[:, KINDS.index(Kind.EMAIL)].tolist() == [2, 0, 0, 0, 1]
    assert result.counts[:, KINDS.index(Kind.PHONE)].tolist() == [0, 0, 1, 0, 0]
    assert result.counts[:, KINDS.index(Kind.CREDIT_CARD)].tolist() == [0, 0, 1, 0, 0]
    assert result.edits == {"pii.email": Count(2, 7 + 7 + 7), "pii.email.spans": Count(3)}


def test_counts_as_a_column() -> None:
    struct = apply(column(TEXTS), PiiParameters()).counts_column()
    assert struct.type == COUNTS_TYPE
    assert struct.field("email").to_pylist() == [2, 0, 0, 0, 1]


def test_a_kind_without_action_is_not_looked_for() -> None:
    result = apply(column(TEXTS), PiiParameters(email=None))
    assert result.texts.to_pylist()[0] == TEXTS[0]
    assert not result.counts[:, KINDS.index(Kind.EMAIL)].any()


actions_of_all = st.fixed_dictionaries({kind.value: st.sampled_from([*Action, None]) for kind in PATTERN_KINDS})


@settings(max_examples=75)
@given(st.lists(mixtures, max_size=2), actions_of_all)
def test_no_pattern_of_a_kind_to_hide_matches_what_is_left(texts: list[str], actions: dict[str, Action | None]) -> None:
    """Judged pattern by pattern and byte by byte: no rule about overlaps has a say in it."""
    parameters = PiiParameters.model_validate(actions)
    result = apply(column(texts), parameters)
    for text in result.texts.to_pylist():
        assert matches(text.encode(), 0, parameters.kinds(Action.MASK, Action.DROP)) == []


@settings(max_examples=50)
@given(st.lists(mixtures, max_size=2), actions_of_all)
def test_counts_are_those_of_the_text_as_given_and_as_left(texts: list[str], actions: dict[str, Action | None]) -> None:
    """To drop: as if nothing else were sought. To mask: with those to drop. To flag: as in the text that is left."""
    parameters = PiiParameters.model_validate(actions)
    result = apply(column(texts), parameters)
    drop, masked, flag = (parameters.kinds(action) for action in (Action.DROP, Action.MASK, Action.FLAG))
    for row, (given_text, left) in enumerate(zip(texts, result.texts.to_pylist(), strict=True)):
        hidden = everything(given_text.encode(), row, [(*drop, *masked)])
        finds = [
            *everything(given_text.encode(), row, [drop]),
            *(find for find in hidden if KINDS[find.kind] in masked),
            *everything(left.encode(), row, [flag]),
        ]
        assert result.counts[row].tolist() == [sum(find.kind == code for find in finds) for code in range(len(KINDS))]
    spans = result.counts[:, [KINDS.index(kind) for kind in masked]].sum()
    assert sum(count.documents or 0 for name, count in result.edits.items() if name.endswith(".spans")) == spans


TOKEN = "gh" + "p_q7Zf0XcV3bN8mKp2LsR5tYw9HjDg4QaE6uIo"
HOSTS = [
    ("git clone https://«{}»@github.com/a/b.git", Kind.API_KEY, TOKEN),
    ("origin https://oauth2:«{}»@gitlab.com/x/y.git", Kind.API_KEY, "glp" + "at-q7Zf0XcV3bN8mKp2LsR5"),
    ("dial «{}»@voip.example.com", Kind.PHONE, "+12015550123"),
    ("schrijf naar «{}»@bücher.example.de\r\n", Kind.API_KEY, TOKEN),
]


@pytest.mark.parametrize(("host", "kind", "secret"), HOSTS)
@pytest.mark.parametrize("hidden", [Action.MASK, Action.DROP])
@pytest.mark.parametrize("others", [Action.FLAG, Action.MASK, None])
def test_what_is_to_go_is_not_hidden_by_what_it_lies_in(
    host: str, kind: Kind, secret: str, hidden: Action, others: Action | None
) -> None:
    actions = {each.value: others for each in PATTERN_KINDS} | {kind.value: hidden}
    text = host.replace("«{}»", secret)
    result = apply(column([text, "«nothing»"]), PiiParameters.model_validate(actions))
    assert secret not in result.texts.to_pylist()[0]
    if others is not Action.MASK:
        assert host.replace("«{}»", f"<{kind.value.upper()}>") == result.texts.to_pylist()[0]
    if others is not Action.MASK or hidden is Action.DROP:
        assert result.counts[0, KINDS.index(kind)] == 1


@pytest.mark.parametrize("texts", [[], ["", ""]])
def test_nothing_in_nothing(texts: list[str]) -> None:
    result = apply(column(texts), PiiParameters(email=Action.DROP))
    assert result.texts.to_pylist() == texts
    assert result.edits == {}
    assert result.counts[:, KINDS.index(Kind.EMAIL)].tolist() == [0] * len(texts)
