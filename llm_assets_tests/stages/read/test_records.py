from __future__ import annotations

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.stages.read.records import document_id

OWN_IDS = st.none() | st.text("ab\0\1", max_size=3)
TEXTS = st.binary(max_size=12) | st.text("ab\0\1", max_size=3).map(str.encode)


@given(OWN_IDS, TEXTS, OWN_IDS, TEXTS)
def test_documents_have_one_id_only_if_own_id_and_text_are_equal(
    own_id: str | None, text: bytes, other_id: str | None, other_text: bytes
) -> None:
    same = (own_id, text) == (other_id, other_text)
    assert (document_id(own_id, text) == document_id(other_id, other_text)) == same


def test_the_boundary_between_own_id_and_text_counts() -> None:
    pairs = [("ab", b"c"), ("a", b"bc"), ("", b"abc"), (None, b"abc"), (None, b"\1\2\0\0\0\0\0\0\0abc")]
    assert len({document_id(*pair) for pair in pairs}) == len(pairs)


def test_the_documented_construction() -> None:
    assert document_id(None, b"text") == blake3(b"\0text").digest()[:16]
    assert document_id("ä", b"text") == blake3(b"\1" + bytes([2, 0, 0, 0, 0, 0, 0, 0]) + b"\xc3\xa4text").digest()[:16]
