"""Masks, drops and flags as the parameters say, with the counts of each, and no PII in anything but flagged text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.stages.clean.pii.apply import COUNTS_TYPE, apply
from llm_assets.stages.clean.pii.find import find
from llm_assets.stages.clean.pii.parameters import Action, PiiParameters
from llm_assets.stages.clean.pii.spans import KINDS, PATTERN_KINDS, Kind
from llm_assets.store.ledger import Count
from llm_assets_tests.stages.clean.odd_text import column
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


@settings(max_examples=50)
@given(st.lists(mixtures, max_size=2), st.dictionaries(st.sampled_from(PATTERN_KINDS), st.sampled_from(Action)))
def test_nothing_to_hide_is_left(texts: list[str], actions: dict[Kind, Action]) -> None:
    parameters = PiiParameters.model_validate({kind.value: actions.get(kind) for kind in PATTERN_KINDS})
    result = apply(column(texts), parameters)
    hidden = parameters.kinds(Action.MASK, Action.DROP)
    assert len(find(result.texts, parameters.kinds()).of_kinds(hidden)) == 0
    spans = find(column(texts), parameters.kinds())
    assert np.array_equal(result.counts, spans.counts(len(texts)))
    assert sum(count.documents for name, count in result.edits.items() if name.endswith(".spans")) == len(
        spans.of_kinds(parameters.kinds(Action.MASK))
    )


@pytest.mark.parametrize("texts", [[], ["", ""]])
def test_nothing_in_nothing(texts: list[str]) -> None:
    result = apply(column(texts), PiiParameters(email=Action.DROP))
    assert result.texts.to_pylist() == texts
    assert result.edits == {}
    assert result.counts[:, KINDS.index(Kind.EMAIL)].tolist() == [0] * len(texts)
