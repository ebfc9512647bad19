"""Kill -9 of `llm-assets run` at random moments: the next run repairs everything, and no reader ever sees a half.

`make torture` kills 30 times, `make test` 3 times. The seed is printed; LLM_ASSETS_TORTURE_SEED repeats a trial.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from llm_assets.chain.shard_partition import open_shards
from llm_assets.cli.demo_data import write_demo_data
from llm_assets.stages.clean.stage import CLEANED_SCHEMA
from llm_assets.stages.dedup.exact import VERDICT_SCHEMA
from llm_assets.stages.read.stage import RAW_SCHEMA
from llm_assets.stages.stage import Disposition
from llm_assets.store.folder import Folder
from llm_assets.store.layout import Store
from llm_assets.store.token_set import TokenSet

KILLS = 30 if os.environ.get("LLM_ASSETS_TORTURE") == "full" else 3
PROJECT = Path(__file__).parents[2]
COMMAND = str(Path(sys.executable).with_name("llm-assets"))
_GENERATION = re.compile(r"(?<![0-9a-f])[0-9a-f]{12}(?![0-9a-f])")
_BOOKKEEPING = ("_delta_log", "_manifests", "index.json", "recipe.json", "_about", "shards.arrow", "refusals")

pytestmark = [pytest.mark.torture, pytest.mark.timeout(1800)]


def start(root: Path, home: Path) -> subprocess.Popen[str]:
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    return subprocess.Popen(
        [COMMAND, "run", "demo"],
        cwd=PROJECT,
        env={**os.environ, "LLM_ASSETS_ROOT": str(root), "DAGSTER_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def complete(root: Path, home: Path) -> str:
    process = start(root, home)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def kill_after(seconds: float, root: Path, home: Path) -> bool:
    """Whether the run was still going when it was killed."""
    process = start(root, home)
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return True
    return False


def digests(root: Path, home: Path) -> dict[str, str]:
    """State and digest of every partition, as `llm-assets status --json` tells them."""
    output = subprocess.run(
        [COMMAND, "status", "--json"],
        cwd=PROJECT,
        env={**os.environ, "LLM_ASSETS_ROOT": str(root), "DAGSTER_HOME": str(home)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return {f"{s['asset']}[{s['partition']}]": f"{s['state']} {s['digest']}" for s in json.loads(output)}


def data_files(root: Path) -> dict[str, str]:
    """Hash of every data file that readers can see, by its path without the generation."""
    files: dict[str, str] = {}
    live = set(_generations(root))
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        name = path.relative_to(root).as_posix()
        generation = _GENERATION.search(name)
        if name.startswith("landing/") or any(part in name for part in _BOOKKEEPING):
            continue
        if generation is None or generation[0] in live:
            files[_GENERATION.sub("G", name)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return files


def _generations(root: Path) -> Iterator[str]:
    """Generations that readers see now."""
    store = Store(Folder(str(root)))
    for source in store.root.names() and (store.root / "sources").names():
        for stage, schema in (("raw", RAW_SCHEMA), ("cleaned", CLEANED_SCHEMA), ("deduped", VERDICT_SCHEMA)):
            yield from store.documents(source, stage, schema).snapshots().values()
    for index in root.rglob("index.json"):
        found = _GENERATION.search(index.read_text())
        assert found, index
        yield found[0]


def leftovers(root: Path) -> list[str]:
    """Files of attempts that never became visible: records of attempts, and generations without a manifest."""
    committed = set(_generations(root)) | {p.stem for p in root.rglob("_manifests/*/*.json")}
    left = [p.as_posix() for p in root.rglob("_attempts/*") if p.is_file()]
    for path in root.rglob("*"):
        generation = _GENERATION.search(path.relative_to(root).as_posix())
        is_data = path.is_file() and not path.is_relative_to(root / "landing")
        if is_data and generation and generation[0] not in committed:
            left.append(path.as_posix())
    return left


class Reader(threading.Thread):
    """Reads everything there is, again and again. What is visible must be whole."""

    def __init__(self, root: Path) -> None:
        super().__init__(daemon=True)
        self.store = Store(Folder(str(root)))
        self.over = threading.Event()
        self.reads = 0
        self.seen_wrong: list[str] = []

    def run(self) -> None:
        while not self.over.is_set():
            try:
                self.read_all()
            except (OSError, ValueError, LookupError, AssertionError) as error:
                self.seen_wrong.append(f"{type(error).__name__}: {error}")
            time.sleep(0.05)

    def read_all(self) -> None:
        for source in (self.store.root / "sources").names():
            for stage, schema in (("raw", RAW_SCHEMA), ("cleaned", CLEANED_SCHEMA), ("deduped", VERDICT_SCHEMA)):
                self.read_table(source, stage, schema)
            for snapshot in self.store.source(source).names() and (self.store.source(source) / "tokenized").names():
                self.read_tokens(TokenSet.open(self.store.tokenized(source, snapshot)))
            for snapshot in (self.store.source(source) / "packed").names():
                self.read_shards(self.store.packed(source, snapshot))
        for version in self.store.mixture("demo").names():
            self.read_shards(self.store.version("demo", version))

    def read_table(self, source: str, stage: str, schema: object) -> None:
        table = self.store.documents(source, stage, schema)  # type: ignore[arg-type]
        for name, generation in table.snapshots().items():
            snapshot = table.snapshot(name, generation)
            assert snapshot is not None, f"{source}/{stage}[{name}] is in the log but has no manifest"
            ledger = snapshot.manifest.ledger
            rows = {d: sum(b.num_rows for b in snapshot.batches(d)) for d in (*Disposition,)}
            expected = ledger.incoming if stage == "deduped" else ledger.kept
            kept = rows[Disposition.VERDICT if stage == "deduped" else Disposition.KEPT]
            assert kept == expected.documents, f"{source}/{stage}[{name}]: {kept} rows, {expected} in the ledger"
            self.reads += 1

    def read_tokens(self, tokens: TokenSet | None) -> None:
        if tokens is not None:
            assert tokens.digest() == tokens.manifest.digest, tokens.folder.uri
            self.reads += 1

    def read_shards(self, folder: Folder) -> None:
        shards = open_shards(folder)
        if shards is not None:
            shards.verify()
            tokens = shards.document_lengths(0, shards.rows).lengths.sum()
            assert tokens == shards.index.tokens, folder.uri
            self.reads += 1


@contextlib.contextmanager
def reading(root: Path) -> Iterator[Reader]:
    reader = Reader(root)
    reader.start()
    try:
        yield reader
    finally:
        reader.over.set()
        reader.join()


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("landing")
    write_demo_data(Folder(str(folder)), megabytes=2)
    return folder


def test_killed_at_random_moments(landing: Path, tmp_path: Path) -> None:
    seed = int(os.environ.get("LLM_ASSETS_TORTURE_SEED", random.SystemRandom().randrange(10**6)))
    moments = random.Random(seed)
    print(f"\nseed {seed}, {KILLS} kills")
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(landing, undisturbed / "landing")
    began = time.monotonic()
    complete(undisturbed, tmp_path / "home")
    duration = time.monotonic() - began
    expected, expected_files = digests(undisturbed, tmp_path / "home"), data_files(undisturbed)
    assert expected_files
    assert all(state.startswith("current ") for state in expected.values()), expected

    kills = trial = 0
    while kills < KILLS:
        trial += 1
        root, home = tmp_path / f"root-{trial}", tmp_path / f"home-{trial}"
        shutil.copytree(landing, root / "landing")
        moment = moments.uniform(0.05, 0.98) * duration
        with reading(root) as reader:
            killed = kill_after(moment, root, home)
            output = complete(root, home)
        kills += killed
        print(f"trial {trial}: {'killed' if killed else 'over'} after {moment:.1f} s, {reader.reads} reads meanwhile")
        assert reader.seen_wrong == [], f"seed {seed}, trial {trial}"
        assert digests(root, home) == expected, f"seed {seed}, trial {trial}\n{output}"
        assert data_files(root) == expected_files, f"seed {seed}, trial {trial}"
        assert leftovers(root) == [], f"seed {seed}, trial {trial}"
        assert running(home) == [], f"seed {seed}, trial {trial}"
        shutil.rmtree(root)
        shutil.rmtree(home)


def running(home: Path) -> list[str]:
    """Runs that the instance still believes in."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        unfinished = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED]
        return [run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=unfinished))]
