from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from llm_assets.kernels.sources import UnknownSourcesError, digest_of
from llm_assets_tests.kernels.processes import replace_unseen, run, write_package

IMPORTS: Final = {
    "absolute": "from {0}.helfer.größe import value",
    "of_a_module": "from {0}.helfer import größe",
    "of_a_package": "from {0} import helfer",
    "plain": "import {0}.helfer.größe as g, json",
    "relative": "from .helfer.größe import value",
    "from_here": "from . import helfer",
    "without_blanks": "from.helfer.größe import(value)",
    "in_brackets": "from .helfer.größe import (  # not this one )\n    value,\n)",
    "continued": "from {0}.helfer.größe \\\n    import value",
    "in_one_line": "x = 1; from .helfer.größe import value",
    "under_a_condition": "if True: from .helfer.größe import value",
    "in_a_function": "def late():\n    from .helfer.größe import value\n    return value",
    "star": "from .helfer.größe import *",
    "behind_prose": '"""import (whatever\n"""\nfrom .helfer import größe\nfrom json import (dumps)',
    "windows": "from .helfer.größe \\\r\n    import value\r\n",
}


def digests(folder: Path) -> dict[str, str]:
    code = (
        "import json\nfrom pathlib import Path\nfrom llm_assets.kernels.sources import digest_of\n"
        f"files = {{name: Path({str(folder)!r}, name, 'start.py') for name in {list(IMPORTS)}}}\n"
        "print(json.dumps({name: digest_of(f'{name}.start', file) for name, file in files.items()}))"
    )
    return json.loads(run(code).stdout)


def test_all_kinds_of_imports_are_followed(tmp_path: Path) -> None:
    for name, statement in IMPORTS.items():
        package = write_package(tmp_path / name, {"unrelated": "value = 0\n"})
        (package / "start.py").write_bytes(statement.format(name).encode())
        helpers = write_package(package / "helfer", {"größe": "value = 1\n"})
        (helpers / "__init__.py").write_text("from . import größe\n")
    before = digests(tmp_path)
    for name in IMPORTS:
        replace_unseen(tmp_path / name / "unrelated.py", "0", "5")
    assert digests(tmp_path) == before
    for name in IMPORTS:
        replace_unseen(tmp_path / name / "helfer" / "größe.py", "1", "2")
    after = digests(tmp_path)
    assert [name for name in IMPORTS if after[name] == before[name]] == []


def test_modules_beside_a_script_are_followed(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import beside\n")
    (tmp_path / "beside.py").write_text("value = 1\n")
    code = (
        "from pathlib import Path\nfrom llm_assets.kernels.sources import digest_of\n"
        f"print(digest_of('__main__', Path({str(tmp_path / 'script.py')!r})))"
    )
    before = run(code).stdout
    replace_unseen(tmp_path / "beside.py", "1", "2")
    assert run(code).stdout != before


def test_a_cell_of_a_notebook_has_no_sources() -> None:
    with pytest.raises(UnknownSourcesError, match="cannot be read"):
        digest_of("__main__", Path("<ipython-input-1>"))
