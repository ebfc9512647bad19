"""Kernels give the results of the sources that were imported, whatever an earlier process left and wherever it did."""

from __future__ import annotations

import ast
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from os import geteuid
from pathlib import Path

import pytest

import llm_assets
from llm_assets_tests.kernels.processes import compiled_files, copy_package, replace_unseen, run, write_package
from llm_assets_tests.loader.sets import write

USES_HELPER = """
import numpy as np
from llm_assets.stages.clean.addresses import is_address
text = np.frombuffer(b"8.8.8.9", np.uint8)
print(is_address(text, 0, len(text), np.zeros(0x110000, np.uint8), 1))
"""

PLUGIN = {
    "amounts": "AMOUNT = 1000\n",
    "helper": "from llm_assets.kernels.kernel import kernel\n@kernel\ndef twice(x):\n    return 2 * x\n",
    "outer": (
        "from llm_assets.kernels.kernel import kernel\n"
        "from plugin.amounts import AMOUNT\n"
        "from plugin.helper import twice\n"
        "@kernel\ndef total(x):\n    return twice(x) + AMOUNT\n"
    ),
}
CALL_PLUGIN = "from plugin.outer import total; print(total(10), total.stats.cache_hits.total())"
WARNING = "Kernels are compiled in memory"


def test_changed_helper_of_the_package_is_seen(tmp_path: Path) -> None:
    package = copy_package(tmp_path)
    assert run(USES_HELPER, tmp_path).stdout == "True\n"
    assert compiled_files(package)
    replace_unseen(package / "kernels" / "utf8.py", "_ZERO, _NINE = 0x30, 0x39", "_ZERO, _NINE = 0x30, 0x38")
    assert run(USES_HELPER, tmp_path).stdout == "False\n"


def test_plugins_helpers_and_constants_are_seen(tmp_path: Path) -> None:
    plugin = write_package(tmp_path / "plugin", PLUGIN)
    results = [run(CALL_PLUGIN, tmp_path).stdout.split() for _ in range(2)]
    assert results == [["1020", "0"], ["1020", "1"]]  # the second process compiles nothing
    replace_unseen(plugin / "helper.py", "2 * x", "3 * x")
    assert run(CALL_PLUGIN, tmp_path).stdout.split() == ["1030", "0"]
    replace_unseen(plugin / "amounts.py", "1000", "2000")
    assert run(CALL_PLUGIN, tmp_path).stdout.split() == ["2030", "0"]


def test_equal_sources_elsewhere_share_code(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_package(tmp_path / folder / "plugin", PLUGIN)
    kept = tmp_path / "kept"
    results = [run(CALL_PLUGIN, tmp_path / folder, LLM_ASSETS_CACHE=kept).stdout.split() for folder in ("one", "two")]
    assert results == [["1020", "0"], ["1020", "1"]]


def test_a_change_since_the_import_keeps_nothing(tmp_path: Path) -> None:
    """What is compiled then is what was imported, and not what lies there by now."""
    plugin = write_package(tmp_path / "plugin", PLUGIN)
    edit = f"import pathlib; pathlib.Path({str(plugin / 'amounts.py')!r}).write_text('AMOUNT = 5\\n')"
    result = run(f"import plugin.outer; {edit}; {CALL_PLUGIN}", tmp_path)
    assert result.stdout.split() == ["1020", "0"]
    assert result.stderr.count(WARNING) == 1
    assert "amounts.py has changed since this process began" in result.stderr
    assert run(CALL_PLUGIN, tmp_path).stdout.split() == ["25", "0"]


@pytest.mark.parametrize("damage", [b"", b"not what was written", None])
def test_damaged_files_are_none(tmp_path: Path, damage: bytes | None) -> None:
    plugin = write_package(tmp_path / "plugin", PLUGIN)
    run(CALL_PLUGIN, tmp_path)
    for file in compiled_files(plugin):
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2] if damage is None else damage)
    assert [run(CALL_PLUGIN, tmp_path).stdout.split() for _ in range(2)] == [["1020", "0"], ["1020", "1"]]


def test_processes_that_compile_different_signatures_at_once(tmp_path: Path) -> None:
    """Each finds its own code afterwards."""
    write_package(tmp_path / "plugin", PLUGIN)
    arguments = ["10", "10.5", "10j", "True"]
    expected = ["1020", "1021.0", "(1000+20j)", "1002"]

    def call(argument: str) -> list[str]:
        return run(CALL_PLUGIN.replace("10", argument), tmp_path).stdout.split()

    with ThreadPoolExecutor(len(arguments)) as threads:
        assert [result for result, _ in threads.map(call, arguments)] == expected
    assert [call(argument) for argument in arguments] == [[result, "1"] for result in expected]


def test_import_writes_nothing(tmp_path: Path) -> None:
    package = copy_package(tmp_path)
    run("import llm_assets.stages.clean.stage, llm_assets.stages.pack.plan", tmp_path, HOME=tmp_path / "home")
    assert not compiled_files(tmp_path)
    assert not list(package.rglob("__pycache__"))
    assert not (tmp_path / "home").exists()


class TestPlaces:
    """Where code is kept: `$LLM_ASSETS_CACHE`, the package, the user's cache folder, nowhere."""

    def test_the_given_folder_always(self, tmp_path: Path) -> None:
        plugin = write_package(tmp_path / "plugin", PLUGIN)
        kept = tmp_path / "gewählt" / "缓存"
        results = [run(CALL_PLUGIN, tmp_path, LLM_ASSETS_CACHE=kept).stdout.split() for _ in range(2)]
        assert results == [["1020", "0"], ["1020", "1"]]
        assert compiled_files(kept)
        assert not compiled_files(plugin)

    def test_the_users_where_the_package_cannot_be_written(self, tmp_path: Path) -> None:
        plugin = write_package(tmp_path / "plugin", PLUGIN)
        (plugin / "__pycache__").write_text("no folder can be here")
        results = [run(CALL_PLUGIN, tmp_path, HOME=tmp_path / "home") for _ in range(2)]
        assert [each.stdout.split() for each in results] == [["1020", "0"], ["1020", "1"]]
        assert compiled_files(tmp_path / "home" / ".cache" / "llm_assets")
        assert not any(each.stderr for each in results)

    def test_memory_where_nothing_can_be_written(self, tmp_path: Path) -> None:
        plugin = write_package(tmp_path / "plugin", PLUGIN)
        (plugin / "__pycache__").write_text("no folder can be here")
        (tmp_path / "file").write_text("nor here")
        for environment in ({"HOME": tmp_path / "file" / "home"}, {"LLM_ASSETS_CACHE": tmp_path / "file" / "kept"}):
            result = run(CALL_PLUGIN, tmp_path, **environment)
            assert result.stdout.split() == ["1020", "0"]
            assert result.stderr.count(WARNING) == 1  # of two kernels
            assert "set LLM_ASSETS_CACHE to one that can" in result.stderr

    def test_what_cannot_be_written_is_read(self, tmp_path: Path) -> None:
        """An image is built with code compiled; those who run it can write nothing."""
        plugin = write_package(tmp_path / "plugin", PLUGIN)
        run(CALL_PLUGIN, tmp_path)
        result = run(CALL_PLUGIN, tmp_path, HOME="/dev/null/home")
        assert (result.stdout.split(), result.stderr) == (["1020", "1"], "")
        assert compiled_files(plugin)

    @pytest.mark.skipif(
        sys.platform != "linux" or geteuid() != 0 or shutil.which("setpriv") is None, reason="needs another user"
    )
    def test_loader_of_a_user_without_home_and_rights(self, tmp_path: Path) -> None:
        """As a container runs it. The batches are the same as with kept code."""
        copy_package(tmp_path)
        write(tmp_path / "set", 100)
        for folder in (tmp_path, *tmp_path.parents[:-1]):
            folder.chmod(folder.stat().st_mode | 0o055)
        code = (
            "from llm_assets.loader import TokenLoader\n"
            f"batch = next(iter(TokenLoader({str(tmp_path / 'set')!r}, batch_size=4)))\n"
            "print({name: value.tolist() for name, value in batch.items()})"
        )
        nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        result = run(code, tmp_path, user=nobody, HOME="/nonexistent")
        assert result.stderr.count(WARNING) == 1
        assert not compiled_files(tmp_path)
        assert result.stdout == run(code, tmp_path).stdout


def test_every_use_of_numba_goes_through_kernel() -> None:
    """numba is imported where kernels are made, and compiled there in one place."""
    package = Path(llm_assets.__path__[0])
    importers = {
        file.relative_to(package).as_posix()
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_bytes()))
        if any(name.partition(".")[0] in ("numba", "llvmlite") for name in _imported(node))
    }
    assert importers == {f"kernels/{name}.py" for name in ("kernel", "compiled", "sources", "hashing")}
    hashing = (package / "kernels" / "hashing.py").read_text()
    assert "jit" not in hashing


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
