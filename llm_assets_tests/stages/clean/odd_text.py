"""Texts that make cleaning stumble: all scripts, every kind of white space, marks, and what the rules look for."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import strategies as st

SPACES = [
    *" \t\n\r\v\f\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000",
    *["\r\n", "\n\n", "\n \n", "\r\n\r\n"],
]
MARKS = [
    *[".", "..", "...", "....", "......", "…", "#", "##", "•", "-", "*", "–", "§", "_", "$", "€"],
    *["\x00", "\x7f", "\ufeff", "\u200b", "\ufffd", "\U0010ffff"],
]
LETTERS = [
    *["the", "be", "to", "of", "and", "that", "have", "with", "The", "the,", "thee", "tho", "haze", "at"],
    *["a", "Z", "7", "é", "e\u0301", "\u0301", "ß", "Ǆ", "ǅ", "Ⅷ", "²", "½", "٣", "ª", "あ", "中", "한", "ש", "ம"],
    *["A\u030a", "\u2126", "ﬁ", "\u0344", "\u0958", "\U0001d7ce", "😀", "👩‍💻", "\U00010400", "\U0001f130"],
]
_piece = st.one_of(st.sampled_from(SPACES), st.sampled_from(MARKS), st.sampled_from(LETTERS))
_anything = st.one_of(_piece, st.characters(exclude_categories=["Cs"]))

odd_text = st.one_of(
    st.lists(_piece, min_size=5, max_size=60).map("".join),
    st.lists(_anything, max_size=30).map("".join),
)
odd_texts = st.lists(odd_text, max_size=6)


def column(texts: list[str], before: int = 0, after: int = 0) -> pa.LargeStringArray:
    """The texts as a column, cut out of a longer one by that many rows on either side."""
    padded = ["… ahead ..."] * before + texts + ["... ûnder"] * after
    return pa.array(padded, pa.large_string()).slice(before, len(texts))


def raw_batch(texts: list[str]) -> pa.RecordBatch:
    """Kept rows of the raw stage with these texts, and a column that cleaning does not know."""
    rows = range(len(texts))
    return pa.record_batch(
        {
            "doc_id": pa.array([text.encode()[:16].ljust(16, b"\0") for text in texts], pa.binary(16)),
            "id": pa.array([None if row % 3 else f"id-{row}" for row in rows], pa.large_string()),
            "error": pa.nulls(len(texts), pa.large_string()),
            "text": column(texts),
            "metadata": pa.array([None if row % 2 else '{"a": 1}' for row in rows], pa.large_string()),
            "file": pa.array(["a.jsonl" for _ in rows], pa.large_string()),
            "record": pa.array(rows, pa.int64()),
            "byte_offset": pa.array([None if row % 5 == 4 else 100 * row for row in rows], pa.int64()),
        }
    )


def real_data(name: str) -> Path:
    """A file or folder of the real test data; skips the test where that is absent."""
    root = Path(os.environ.get("LLM_ASSETS_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
    if not (root / name).exists():
        pytest.skip(f"no {root / name}: set LLM_ASSETS_TEST_DATA")
    return root / name
