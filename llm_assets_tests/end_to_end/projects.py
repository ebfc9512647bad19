"""Dagster projects as a user writes them: a folder with a module, `definitions.py` and YAML. For tests only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from llm_assets_tests.cli.bad_files import paragraph

SOURCE = """\
type: llm_assets.components.CorpusSource

attributes:
  name: web
  tokenizer: bytes_and_more
  pack:
    sequence_length: 128
"""

TOKENIZER = """\
type: llm_assets.components.Tokenizer

attributes:
  name: bytes_and_more
  train:
    sources: [web]
    vocabulary_size: 300
"""

MIXTURE = """\
type: llm_assets.components.Mixture

attributes:
  name: first
  shares:
    web: 1
"""

DECLARATIONS: Mapping[str, str] = {"web": SOURCE, "bytes_and_more": TOKENIZER, "first": MIXTURE}
"""A source, a tokenizer and a mixture that go together, by folder."""

PYPROJECT = """\
[tool.dagster]
module_name = "{module}.definitions"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "{module}"
code_location_target_module = "{module}.definitions"
"""

DEFINITIONS = """\
from pathlib import Path

from llm_assets.definitions import build_defs

defs = build_defs(project=Path(__file__).parents[1])
"""


def write_project(folder: Path, module: str, declarations: Mapping[str, str]) -> Path:
    """A project whose module has that name, with a `defs.yaml` for each of the declarations."""
    defs = folder / module / "defs"
    defs.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PYPROJECT.format(module=module))
    (folder / module / "__init__.py").touch()
    (folder / module / "definitions.py").write_text(DEFINITIONS)
    (defs / "__init__.py").touch()
    for name, text in declarations.items():
        (defs / name).mkdir()
        (defs / name / "defs.yaml").write_text(text)
    return folder


def land(landing: Path, source: str, snapshot: str, paragraphs: range, broken: int = 0) -> Path:
    """A snapshot of one jsonl file: paragraphs by number, then lines that are no JSON. Complete."""
    folder = landing / source / snapshot
    folder.mkdir(parents=True)
    lines = [json.dumps({"id": str(number), "text": paragraph(number)}) for number in paragraphs]
    (folder / "records.jsonl").write_text("".join(f"{line}\n" for line in [*lines, *["{broken"] * broken]))
    (folder / "_SUCCESS").touch()
    return folder
