"""Editing lines equals what plain Python does line by line, and everything removed is counted."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llm_assets.stages.clean.edit.line_edits import edit_lines
from llm_assets.stages.clean.edit.parameters import LineEdits
from llm_assets.stages.clean.edit.phrases import POLICY
from llm_assets_tests.stages.clean.odd_text import column, odd_text

C4 = LineEdits(
    max_word_length=12,
    citations=True,
    terminal_punctuation=True,
    min_words=3,
    javascript=True,
    policy=True,
    strip=True,
)
edits = st.builds(
    LineEdits,
    max_word_length=st.sampled_from([None, 1, 4, 12]),
    citations=st.booleans(),
    terminal_punctuation=st.booleans(),
    min_words=st.sampled_from([None, 1, 3]),
    javascript=st.booleans(),
    policy=st.booleans(),
    strip=st.booleans(),
)
_pieces = [
    *POLICY,
    "javascript",
    "JavaScript",
    "Cookie Policy",
    "[1]",
    "[]",
    "[edit]",
    "[citation needed]",
    "[12",
    "[a]",
]
_breaks = ["\n", "\r\n", "\r", "\n\n", "\u2028", "\x85", " \n "]
_some = st.sampled_from(
    [*_pieces, *_breaks, " ", " ", "one", "two", "three.", "...", '"', "é", "\u3000", "!", "x" * 13]
)
texts = st.one_of(st.lists(_some, max_size=40).map("".join), odd_text)


def ascii_lower(text: str) -> str:
    return "".join(c.lower() if c.isascii() else c for c in text)


def expected(text: str, edits: LineEdits) -> tuple[str, dict[str, int]]:
    kept: list[str] = []
    removed: dict[str, int] = {}
    restyled = False

    def drop(kind: str, part: str) -> None:
        if part:
            removed[f"lines.{kind}"] = removed.get(f"lines.{kind}", 0) + len(part.encode())

    for line, content in zip(text.splitlines(keepends=True), text.splitlines(), strict=True):
        words = line.split()
        core = content.strip()
        body = re.sub(r"\[[0-9]*\]|\[edit\]|\[citation needed\]", "", core) if edits.citations else core
        small = ascii_lower(body)
        if edits.max_word_length is not None and any(len(word) > edits.max_word_length for word in words):
            drop("max_word_length", line)
        elif edits.terminal_punctuation and (not body.endswith((".", "?", "!", '"', "'")) or body.endswith("...")):
            drop("terminal_punctuation", line)
        elif edits.min_words is not None and len(words) < edits.min_words:
            drop("min_words", line)
        elif edits.javascript and "javascript" in small:
            drop("javascript", line)
        elif edits.policy and any(phrase in small for phrase in POLICY):
            drop("policy", line)
        else:
            if len(body) < len(core):
                removed["lines.citations"] = removed.get("lines.citations", 0) + len(core) - len(body)
            if edits.strip:
                kept.append(body)
                restyled |= line != content and line[len(content)] != "\n"
            elif core:
                lead = len(content) - len(content.lstrip())
                kept.append(line[:lead] + body + line[lead + len(core) :])
            else:
                kept.append(line)
    result = "\n".join(kept).strip() if edits.strip else "".join(kept)
    stripped = len(text.encode()) - len(result.encode()) - sum(removed.values())
    if edits.strip and (stripped or restyled):
        removed["lines.strip"] = stripped
    return result, removed


@settings(deadline=None)  # the kernel may have to be compiled
@given(st.lists(texts, max_size=4), edits, st.integers(0, 2))
@example(
    ["  A line of words.  \n\nno end\nuse cookies in here.\n  JavaScript is off, sir!\r\nTold [1] you so.[23]"], C4, 1
)
@example(["[1]\n[2] ", "[edit]", "", "a[citation needed"], LineEdits(citations=True), 0)
@example(["\n\r\n a \u2028", " \n"], LineEdits(strip=True), 0)
def test_edits_equal_plain_python(given_texts: list[str], edits: LineEdits, before: int) -> None:
    result, counts = edit_lines(column(given_texts, before), edits)
    wanted = [expected(text, edits) for text in given_texts]
    assert result.to_pylist() == [text for text, _ in wanted]
    assert result.type == pa.large_string()
    documents: dict[str, int] = {}
    removed: dict[str, int] = {}
    for _, counted in wanted:
        for kind, size in counted.items():
            documents[kind] = documents.get(kind, 0) + 1
            removed[kind] = removed.get(kind, 0) + size
    assert {kind: count.documents for kind, count in counts.items()} == documents
    assert {kind: count.bytes for kind, count in counts.items()} == removed


def test_nothing_to_edit_is_not_copied() -> None:
    texts = column(["A line of words.\nAnother line of words."])
    assert edit_lines(texts, LineEdits())[0] is texts
    assert edit_lines(texts, C4)[0] is texts


def test_nulls_are_refused() -> None:
    with pytest.raises(ValueError, match="1 of 1 texts are null"):
        edit_lines(pa.array([None], pa.large_string()), C4)
