from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import zstandard

from llm_assets.demo import (
    ForeignFilesError,
    Installation,
    Root,
    SnapshotDiffersError,
    running_installation,
    write_demo_data,
)
from llm_assets.demo import write as write_module
from llm_assets.demo.harvest import HarvestedDocument, code, prose
from llm_assets.demo.installation import Package
from llm_assets.store.folder import Folder

REPOSITORY = Path(__file__).parents[2]
SNAPSHOTS = ["docs/2026-01", "docs/2026-02", "code/2026-01"]
MEGABYTES = 2.0
SENTENCE = "The keeper of the lighthouse wrote a few lines every evening, and read them to the sea. "


def put(root: Path, name: str, content: str | bytes) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A small site-packages: two hundred modules with docstrings, texts, and a licence in many places."""
    root = tmp_path / "site-packages"
    for number in range(200):
        module = f'"""Module {number}. {SENTENCE * (3 + number % 7)}"""\nVALUE = {number}\n' + "x = 1\n" * 60
        put(root, f"alpha/part{number}.py", module)
        put(root, f"alpha/guide{number}.md", f"# Guide {number}\n\n{SENTENCE * 4}\n")
        put(root, f"alpha/vendored{number}/LICENSE", SENTENCE * 5)
    put(root, "alpha-1.0.dist-info/METADATA", f"Name: Alpha\nLicense: MIT\n\n{SENTENCE * 4}")
    put(root, "alpha-1.0.dist-info/RECORD", "alpha/part0.py,sha256=0,1\nalpha/guide0.md,,\n")
    put(root, "alpha-1.0.dist-info/entry_points.txt", "[console_scripts]\n" + "run = alpha:run\n" * 30)
    return root


@pytest.fixture
def installation(site: Path) -> Installation:
    return Installation((Root("site-packages", site),))


def records(path: Path) -> list[dict[str, Any]]:
    """The documents of a landed file, by readers that the code under test does not use."""
    data = path.read_bytes()
    if path.name.endswith((".md", ".txt")):
        return [{"id": path.name, "text": data.decode()}]
    if path.suffix == ".parquet":
        return pq.read_table(io.BytesIO(data)).to_pylist()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    if path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
    return [json.loads(line) for line in data.decode().splitlines() if line]


def landed(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_demo_data_of_the_running_installation(tmp_path: Path) -> None:
    result = write_demo_data(Folder(str(tmp_path)), megabytes=MEGABYTES)
    assert [f"{snapshot.source}/{snapshot.snapshot}" for snapshot in result] == SNAPSHOTS
    assert 0.8 * MEGABYTES * 1e6 < sum(snapshot.bytes for snapshot in result) <= MEGABYTES * 1e6
    machine = [*running_installation().paths, str(REPOSITORY)]
    texts: dict[str, list[str]] = {}
    for snapshot in result:
        folder = tmp_path / snapshot.source / snapshot.snapshot
        files = [path for path in folder.iterdir() if path.name != "_SUCCESS"]
        documents = [record for path in files for record in records(path)]
        assert (folder / "_SUCCESS").read_bytes() == b""
        assert len(files) == snapshot.files
        assert len(documents) == len({document["id"] for document in documents}) == snapshot.documents
        assert sum(len(document["text"].encode()) for document in documents) == snapshot.bytes
        assert all(document["text"].strip() for document in documents)
        assert not [document["id"] for document in documents if document["id"].startswith("/")]
        for place in machine:
            assert not [document["id"] for document in documents if place in document["id"] + document["text"]]
        texts[f"{snapshot.source}/{snapshot.snapshot}"] = [document["text"] for document in documents]
    formats = Counter("".join(path.suffixes[-2:]) for path in tmp_path.rglob("demo-[0-9]*"))
    assert formats == {".jsonl.gz": 2, ".parquet": 2, ".jsonl": 3, ".jsonl.zst": 1}
    assert set(texts["docs/2026-01"]) & set(texts["docs/2026-02"])


def test_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    write_demo_data(Folder(str(here)), megabytes=0.5)
    script = (
        "import sys; from llm_assets.demo import write_demo_data; from llm_assets.store.folder import Folder; "
        "write_demo_data(Folder(sys.argv[1]), megabytes=0.5)"
    )
    environment = os.environ | {"PYTHONHASHSEED": "12345", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    subprocess.run([sys.executable, "-c", script, str(there)], check=True, cwd=REPOSITORY, env=environment)
    assert landed(here) == landed(there)


def test_neither_place_nor_order_on_disk_matters(tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write_demo_data(Folder(str(first)), megabytes=0.2, installation=Installation((Root("site-packages", site),)))
    moved = site.rename(tmp_path / "moved")
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda top: ((at, dirs, files[::-1]) for at, dirs, files in [*walk(top)][::-1]))
    write_demo_data(Folder(str(second)), megabytes=0.2, installation=Installation((Root("site-packages", moved),)))
    assert landed(first) == landed(second)


@pytest.mark.parametrize("megabytes", [0.1, 0.15, 0.3])
def test_the_budget_is_respected_and_used(tmp_path: Path, installation: Installation, megabytes: float) -> None:
    result = write_demo_data(Folder(str(tmp_path)), megabytes=megabytes, installation=installation)
    held = sum(len(document.text) for documents in (prose, code) for document in documents(installation))
    largest = max(document.size for documents in (prose, code) for document in documents(installation))
    total = sum(snapshot.bytes for snapshot in result)
    assert total <= megabytes * 1e6
    assert total > min(megabytes * 1e6, 0.9 * held) - 4 * largest


@pytest.mark.parametrize("megabytes", [0, -1, 0.01, float("nan")])
def test_a_budget_of_nothing_is_refused(tmp_path: Path, installation: Installation, megabytes: float) -> None:
    with pytest.raises(ValueError, match="megabytes"):
        write_demo_data(Folder(str(tmp_path)), megabytes=megabytes, installation=installation)
    assert landed(tmp_path / "landing") == {}


def test_a_complete_snapshot_is_left_as_it_is(tmp_path: Path, installation: Installation) -> None:
    landing = tmp_path / "landing"
    first = write_demo_data(Folder(str(landing)), megabytes=0.2, installation=installation)
    put(landing, "docs/2026-01/added-by-somebody.jsonl", '{"text": "mine"}\n')
    times = {path: path.stat().st_mtime_ns for path in landing.rglob("*")}
    assert write_demo_data(Folder(str(landing)), megabytes=0.2, installation=installation) == first
    assert {path: path.stat().st_mtime_ns for path in landing.rglob("*")} == times
    with pytest.raises(SnapshotDiffersError, match="2026-01"):
        write_demo_data(Folder(str(landing)), megabytes=0.1, installation=installation)
    assert {path: path.stat().st_mtime_ns for path in landing.rglob("*")} == times
    put(landing, "code/2026-01/demo-001.jsonl", b"of another size")
    with pytest.raises(SnapshotDiffersError, match="code/2026-01"):
        write_demo_data(Folder(str(landing)), megabytes=0.2, installation=installation)


def test_an_incomplete_snapshot_is_written_anew_and_nothing_else_is_touched(
    tmp_path: Path, installation: Installation
) -> None:
    undisturbed, landing = tmp_path / "undisturbed", tmp_path / "landing"
    write_demo_data(Folder(str(undisturbed)), megabytes=0.1, installation=installation)
    write_demo_data(Folder(str(landing)), megabytes=0.2, installation=installation)
    for snapshot in SNAPSHOTS:
        (landing / snapshot / "_SUCCESS").unlink()
        put(landing, f"{snapshot}/demo-007.parquet", b"half a file")
        put(landing, f"{snapshot}/._SUCCESS.0123abcd.tmp", b"")
    put(landing, "docs/2025-12/part.jsonl", b"mine")
    put(landing, "web/2026-01/demo-000.jsonl", b"mine")
    write_demo_data(Folder(str(landing)), megabytes=0.1, installation=installation)
    others = {"docs/2025-12/part.jsonl": b"mine", "web/2026-01/demo-000.jsonl": b"mine"}
    assert landed(landing) == landed(undisturbed) | others


def test_files_of_somebody_else_stop_it(tmp_path: Path, installation: Installation) -> None:
    put(tmp_path, "landing/docs/2026-02/arriving.jsonl", b"mine")
    put(tmp_path, "landing/docs/2026-02/demo-000.jsonl", b"old")
    with pytest.raises(ForeignFilesError, match=r"arriving\.jsonl"):
        write_demo_data(Folder(str(tmp_path / "landing")), megabytes=0.1, installation=installation)
    assert landed(tmp_path / "landing/docs/2026-02") == {"arriving.jsonl": b"mine", "demo-000.jsonl": b"old"}


def test_success_comes_last(tmp_path: Path, installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    create = Folder.create
    written = Counter[str]()

    def dies_at_the_third_file(folder: Folder, name: str) -> Any:
        written[folder.uri] += 1
        assert "_SUCCESS" not in folder.names()
        if folder.uri.endswith("code/2026-01") and written[folder.uri] == 2:
            raise OSError("no space left")
        return create(folder, name)

    monkeypatch.setattr(Folder, "create", dies_at_the_third_file)
    with pytest.raises(OSError, match="no space"):
        write_demo_data(Folder(str(tmp_path)), megabytes=0.2, installation=installation)
    assert sorted(str(path.parent.relative_to(tmp_path)) for path in tmp_path.rglob("_SUCCESS")) == SNAPSHOTS[:2]


def test_large_files_are_split_and_lose_nothing(
    tmp_path: Path, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_demo_data(Folder(str(tmp_path / "whole")), megabytes=0.2, installation=installation)
    monkeypatch.setattr(write_module, "LARGEST_PART", 5_000)
    write_demo_data(Folder(str(tmp_path / "split")), megabytes=0.2, installation=installation)
    for snapshot in SNAPSHOTS:
        for suffix in ("jsonl", "jsonl.gz", "jsonl.zst", "parquet"):
            pattern = f"demo-[0-9][0-9][0-9].{suffix}"
            parts = [records(path) for path in sorted((tmp_path / "split" / snapshot).glob(pattern))]
            whole = [records(path) for path in sorted((tmp_path / "whole" / snapshot).glob(pattern))]
            assert [record for part in parts for record in part] == [record for part in whole for record in part]
            assert all(sum(len(record["text"].encode()) for record in part) <= 5_000 for part in parts)
    assert (tmp_path / "split/code/2026-01/demo-003.jsonl.zst").exists()


def test_an_object_store_gets_the_same_files(tmp_path: Path, installation: Installation) -> None:
    write_demo_data(Folder(str(tmp_path / "disk")), megabytes=0.1, installation=installation)
    memory = Folder(f"memory://{tmp_path.name}/landing")
    for _ in range(2):
        write_demo_data(memory, megabytes=0.1, installation=installation)
    for snapshot in SNAPSHOTS:
        folder = memory / snapshot
        assert {name: folder.read(name) for name in folder.names()} == landed(tmp_path / "disk" / snapshot)


def test_an_empty_installation_yields_empty_snapshots(tmp_path: Path) -> None:
    result = write_demo_data(Folder(str(tmp_path / "landing")), installation=Installation(()))
    assert [(snapshot.files, snapshot.documents, snapshot.bytes) for snapshot in result] == [(0, 0, 0)] * 3


def only(root: Path, source: Any = prose) -> list[HarvestedDocument]:
    return list(source(Installation((Root("site-packages", root),))))


def test_docstrings_become_one_document_a_module(tmp_path: Path) -> None:
    put(
        tmp_path,
        "pkg/sub/__init__.py",
        f'''"""About the module.

    {SENTENCE * 3}"""
raise SystemExit("never imported")
class A:
    """About A."""
    class B:
        """About B."""
    def method(self):
        """About the method."""
        def inner():
            """Not of interest."""
if True:
    async def f():
        """About f, with an invalid \\d escape."""
else:
    def g(): "About g."
try:
    pass
except ImportError:
    def h():
        """About h."""
def silent(): pass
''',
    )
    (document,) = only(tmp_path)
    name = "pkg.sub"
    sections = [f"{name}\n\nAbout the module.\n\n{SENTENCE * 3}".rstrip(" "), f"{name}.A\n\nAbout A."]
    sections += [f"{name}.A.B\n\nAbout B.", f"{name}.A.method\n\nAbout the method."]
    sections += [f"{name}.f\n\nAbout f, with an invalid \\d escape.", f"{name}.g\n\nAbout g.", f"{name}.h\n\nAbout h."]
    assert document.text.replace(". \n", ".\n") == "\n\n".join([*sections, ""])
    assert (document.name, document.kind) == ("site-packages/pkg/sub/__init__.py", "docstrings")


def test_what_is_no_document_is_passed_over(tmp_path: Path) -> None:
    long = SENTENCE * 5
    put(tmp_path, "good.txt", long)
    put(tmp_path, "short.txt", "too short")
    put(tmp_path, "latin.txt", (long + "café").encode("latin-1"))
    put(tmp_path, "nul.txt", long + "\0")
    put(tmp_path, "blank.txt", " \n" * 400)
    put(tmp_path, "wide.txt", "x" * 5_001 + "\n" + long)
    put(tmp_path, "large.txt", (long + "\n") * 3_000)
    put(tmp_path, "here.txt", f"{long} {tmp_path}/here.txt")
    put(tmp_path, "data.csv", long)
    put(tmp_path, "requirements-dev.txt", long)
    put(tmp_path, "tests/fixture.txt", long)
    put(tmp_path, "__pycache__/cached.txt", long)
    put(tmp_path, "other/site-packages/foreign.txt", long)
    put(tmp_path, "surrogate.py", f'"""{long}\\ud800"""\n')
    put(tmp_path, "python2.py", f'"""{long}"""\nprint "hello"\n')
    put(tmp_path, "deep.py", '"""' + f"{long}\n" * 30 + '"""\n' + "-" * 10_000 + "1\n")
    put(tmp_path, "one_line.py", '"""Short."""\n' + "x = 1\n" * 100)
    (tmp_path / "nowhere.txt").symlink_to(tmp_path / "missing")
    assert [document.name for document in only(tmp_path)] == ["site-packages/good.txt"]


def test_code_is_every_module_but_those_an_installer_wrote(tmp_path: Path) -> None:
    lines = "value = 1\n" * 50
    put(tmp_path, "pkg/a.py", lines)
    put(tmp_path, "pkg/test_a.py", "print 'python 2 is code too'\n" + lines)
    put(tmp_path, "__editable___pkg_finder.py", lines)
    put(tmp_path, "pkg/empty.py", "")
    documents = only(tmp_path, code)
    assert {document.name for document in documents} == {"site-packages/pkg/a.py", "site-packages/pkg/test_a.py"}
    assert {document.kind for document in documents} == {"code"}


def test_files_know_their_package_and_its_licence(site: Path) -> None:
    put(site, "beta-2.dist-info/METADATA", f"Name: beta\nLicense: {'long text ' * 20}\nClassifier: License :: A :: B")
    put(site, "beta-2.dist-info/RECORD", "beta/__init__.py,,\n")
    put(site, "beta/__init__.py", f'"""{SENTENCE * 5}"""')
    put(site, "broken-1.dist-info/RECORD", "beta/__init__.py,,\n")
    put(site, "lone.py", f'"""{SENTENCE * 5}"""')
    documents = {document.name.removeprefix("site-packages/"): document for document in only(site)}
    assert documents["alpha/part0.py"].package == Package("Alpha", "MIT")
    assert documents["alpha/part1.py"].package == Package("alpha", None)
    assert documents["beta/__init__.py"].package == Package("beta", "B")
    assert documents["lone.py"].package == Package("lone", None)
    description = documents["alpha-1.0.dist-info/METADATA"]
    assert (description.kind, description.text) == ("description", SENTENCE * 4)
    assert description.package == Package("Alpha", "MIT")


def test_the_running_installation_has_each_folder_once() -> None:
    roots = running_installation().roots
    assert {"stdlib", "site-packages"} <= {root.name for root in roots}
    assert len({root.path.resolve() for root in roots}) == len(roots)
