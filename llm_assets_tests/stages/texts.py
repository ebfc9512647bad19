"""Text of all scripts for tests of what reads text, and where the shared test data is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import strategies as st

PIECES = [
    "<|endoftext|>",
    "<|endoftext",
    " ",
    "\n\n",
    "\t",
    "\r\n",
    "\u00a0",
    "\u200b",
    "\ufeff",
    "\u0000",
    "e\u0301",
    "東京",
    "ไทย",
    "العربية",
    "हिन्दी",
    "👩‍👩‍👧",
    "🏳️‍🌈",
    "\U0001f600",
    "\ufffd",
    "It's",
    "'ll",
    "don’t",
    "1234567890",
    "3.14",
    "x=1;",
    "    return",
    "ǅ",
    "ß",
    "İ",
    "a" * 60,
]
any_text = st.lists(st.sampled_from(PIECES) | st.text(max_size=12), max_size=6).map("".join)


def shared_data(name: str) -> Path:
    """A folder of the shared test data; skips the test where it is absent."""
    root = Path(os.environ.get("LLM_ASSETS_TEST_DATA") or Path(__file__).parents[3] / "shared/data")
    if not (root / name).is_dir():
        pytest.skip(f"no test data: {root / name} is absent (set LLM_ASSETS_TEST_DATA)")
    return root / name
