"""No module imports another in a circle, not even inside a function."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import llm_assets

ROOT = Path(llm_assets.__file__).parent


def modules(root: Path) -> dict[str, Path]:
    """Every module below a package's folder, by dotted name."""
    found: dict[str, Path] = {}
    for path in root.rglob("*.py"):
        parts = [root.name, *path.relative_to(root).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(tree: ast.AST) -> Iterator[str]:
    """Names that are imported anywhere, but for what only a type checker imports."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from (name for alias in node.names for name in (f"{node.module}.{alias.name}", node.module))
        yield from imported(node)


def graph(root: Path) -> dict[str, set[str]]:
    """The modules that each module imports. A package that imports its own modules stands for them."""
    known = modules(root)
    found: dict[str, set[str]] = {}
    for name, path in known.items():
        named = [each for each in imported(ast.parse(path.read_text("utf-8"))) if each in known]
        exact = {each for each in named if not any(other.startswith(f"{each}.") for other in named)}
        found[name] = exact - {name}
    return found


def test_no_module_imports_another_in_a_circle() -> None:
    found = graph(ROOT)
    assert sum(map(len, found.values())) > 500
    TopologicalSorter(found).prepare()


def test_a_circle_is_found_inside_functions_too(tmp_path: Path) -> None:
    root = tmp_path / "made_up"
    root.mkdir()
    (root / "__init__.py").touch()
    (root / "a.py").write_text("from made_up.b import y\nx = 1\n")
    (root / "b.py").write_text("y = 2\ndef late():\n    from made_up import a\n    return a.x\n")
    with pytest.raises(CycleError):
        TopologicalSorter(graph(root)).prepare()
