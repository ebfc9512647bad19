"""Reading files that live in memory, and the real data that lies beside the project."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llm_assets.contract.stage import Disposition
from llm_assets.stages.read.files import InputFile, ReadPart, group_files
from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.stages.read.stage import ReadStage
from llm_assets.store.folder import Folder
from llm_assets.store.ledger import Ledger
from llm_assets_tests.stages.read.listing import list_files


@dataclass(frozen=True)
class ReadResult:
    """What became of some files: rows as dicts, and the ledger of all batches."""

    kept: list[dict[str, Any]]
    quarantined: list[dict[str, Any]]
    ledger: Ledger

    @property
    def errors(self) -> list[str]:
        return [row["error"] for row in self.quarantined]

    @property
    def texts(self) -> list[str]:
        return [row["text"] for row in self.kept]


def read_parts(parts: list[ReadPart], **parameters: Any) -> ReadResult:
    """Run the stage over parts; hold that every batch has the schema and a ledger that balances and agrees with it."""
    stage = ReadStage(ReadParameters(**parameters))
    rows: dict[Disposition, list[dict[str, Any]]] = {Disposition.KEPT: [], Disposition.QUARANTINED: []}
    ledger = Ledger()
    for part in parts:
        for output in stage.process(part):
            assert output.ledger.incoming == output.ledger.accounted
            assert output.ledger.output == output.ledger.kept
            for disposition, batch in output.rows.items():
                assert batch.schema == stage.schema
                batch.validate(full=True)
                rows[disposition].extend(batch.to_pylist())
            ledger += output.ledger
    kept, quarantined = rows[Disposition.KEPT], rows[Disposition.QUARANTINED]
    assert ledger.kept.documents == len(kept)
    assert ledger.kept.bytes == sum(len(row["text"].encode()) for row in kept)
    assert ledger.quarantined_total.documents == sum(row["records"] for row in quarantined)
    return ReadResult(kept, quarantined, ledger)


@pytest.fixture(scope="session")
def read_bytes() -> Callable[..., ReadResult]:
    """Read files given as {name: content}."""

    def read(files: Mapping[str, bytes], **parameters: Any) -> ReadResult:
        folder = Folder(f"memory://{uuid.uuid4()}")
        for name, content in files.items():
            with folder.create(name) as file:
                file.write(content)
        listed = tuple(InputFile(name, len(files[name])) for name in sorted(files))
        try:
            return read_parts([ReadPart(folder, listed)], **parameters)
        finally:
            folder.filesystem.rm(folder.path, recursive=True)

    return read


@pytest.fixture
def read_folder(tmp_path: Path) -> Callable[..., ReadResult]:
    """Read a folder of the local disk, by default the test's own."""

    def read(path: Path = tmp_path, target_bytes: int = 1 << 20, **parameters: Any) -> ReadResult:
        folder = Folder(str(path))
        return read_parts(group_files(folder, list_files(folder), target_bytes), **parameters)

    return read


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real data, or a skip that says where it was looked for."""
    default = Path(__file__).resolve().parents[4] / "shared" / "data"
    path = Path(os.environ.get("LLM_ASSETS_TEST_DATA", default))
    if not path.is_dir():
        pytest.skip(f"no test data at {path}; set LLM_ASSETS_TEST_DATA")
    return path
