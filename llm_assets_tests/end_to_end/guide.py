"""The files that docs/extending.md shows, written as a project outside of this package."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from llm_assets_tests.end_to_end.projects import DECLARATIONS, write_project

PAGE = Path(__file__).parents[2] / "docs/extending.md"
MODULE = "my_corpus"
"""The package of all examples."""

_BLOCK = re.compile(r"^```\w+\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    """What stands below a heading of the page, to the next one."""
    parts = re.split(r"^## (.+)\n", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[title]


def example_files(title: str) -> dict[str, str]:
    """The files of the example in a section, by path: the code blocks that begin with a comment that is a path."""
    return dict(_BLOCK.findall(section(title)))


def write_example(folder: Path, title: str, declarations: Mapping[str, str] = DECLARATIONS) -> Path:
    """A project of these declarations, with the files of a section added, or put in their place."""
    project = write_project(folder, MODULE, declarations)
    for path, text in example_files(title).items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text, "utf-8")
    return project
