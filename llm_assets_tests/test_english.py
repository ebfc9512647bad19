"""Docstrings say what a thing does: none begins by pointing at it ("What …", "Of …")."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for room in ("llm_assets", "benchmarks") for path in (ROOT / room).rglob("*.py"))
POINTING = ("What ", "Of ")


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of every string that stands alone: docstrings, and those below an attribute or a constant."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value


def pointing(source: str) -> list[str]:
    found = docstrings(source)
    return [f"line {line}: {text.split(chr(10))[0]}" for line, text in found if text.lstrip().startswith(POINTING)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_docstring_begins_by_pointing(path: Path) -> None:
    assert not pointing(path.read_text(encoding="utf-8"))


def test_docstrings_of_all_places_are_found() -> None:
    source = '"""What a."""\nX = 1\n"""Of b."""\nclass C:\n    """\n    What c."""\n\n    def f(self):\n'
    source += '        """Whatever."""\n'
    assert pointing(source) == ["line 1: What a.", "line 3: Of b.", "line 5: "]
