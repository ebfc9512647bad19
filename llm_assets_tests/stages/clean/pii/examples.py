"""What is found in one line of text."""

from __future__ import annotations

from llm_assets.stages.clean.pii.find import find
from llm_assets.stages.clean.pii.spans import KINDS
from llm_assets_tests.stages.clean.odd_text import column


def found(text: str) -> list[tuple[str, str]]:
    """Kind and text of every span."""
    encoded = text.encode()
    return [(KINDS[each.kind].value, encoded[each.start : each.stop].decode()) for each in find(column([text])).finds()]


def only(kind: str, text: str) -> str:
    """The one span of a text with the PII in guillemets, checked to be exactly that."""
    before, _, rest = text.partition("«")
    pii, _, after = rest.partition("»")
    spans = found(before + pii + after)
    assert spans == [(kind, pii)], f"{text}: {spans}"
    return pii
