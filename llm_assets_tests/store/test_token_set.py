from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from llm_assets.store.folder import Folder
from llm_assets.store.ledger import Ledger
from llm_assets.store.manifest import Manifest
from llm_assets.store.staging import LostFilesError
from llm_assets.store.token_schema import token_schema
from llm_assets.store.token_set import (
    StagedTokenSet,
    TokenFiles,
    TokenFileWriter,
    TokenSet,
    begin_token_set,
)
from llm_assets_tests.store.writers import die, files

Ids = list[list[int]]


def batch(ids: Ids, dtype: str = "uint16") -> pa.RecordBatch:
    count = len(ids)
    columns = [
        pa.array([bytes([i]) * 16 for i in range(count)], pa.binary(16)),
        pa.array(["f"] * count, pa.large_string()),
        pa.array(range(count), pa.int64()),
        pa.array(ids, token_schema(dtype).field("input_ids").type),
    ]
    return pa.record_batch(columns, schema=token_schema(dtype))


def staged(folder: Folder, *parts: Ids, dtype: str = "uint16") -> StagedTokenSet:
    attempt = begin_token_set(folder)
    made = []
    for number, ids in enumerate(parts):
        writer = TokenFileWriter(attempt, number, dtype)
        for first in range(0, len(ids), 2):
            writer.write(batch(ids[first : first + 2], dtype))
        made.append(writer.close())
    written = TokenFiles(folder, dtype, tuple(made))
    manifest = Manifest("docs/tokenized", "s", attempt.generation, "1", {}, written.digest(), Ledger())
    return StagedTokenSet(folder, dtype, tuple(made), attempt, manifest)


def ids_of(tokens: TokenFiles) -> Ids:
    return [ids for each in tokens.batches() for ids in each["input_ids"].to_pylist()]


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "t") if request.param == "local" else f"memory://{tmp_path}/t")


@pytest.mark.parametrize(("dtype", "most"), [("uint16", 65_535), ("uint32", 1 << 31)])
def test_what_is_read_back(folder: Folder, dtype: str, most: int) -> None:
    assert TokenSet.open(folder) is None
    parts = [[1, 2, most], [], [3]], [], [[4, 5]]
    set_ = staged(folder, *parts, dtype=dtype)
    assert TokenSet.open(folder) is None
    assert ids_of(set_) == [[1, 2, most], [], [3], [4, 5]]
    set_.commit()
    tokens = TokenSet.open(folder)
    assert tokens is not None and tokens.manifest == set_.manifest and tokens.dtype == dtype
    assert (tokens.documents, tokens.tokens) == (4, 6)
    assert ids_of(tokens) == ids_of(set_) and tokens.digest() == set_.manifest.digest
    assert tokens.size == sum(folder.sizes(set_.manifest.generation).values())
    assert folder.names() == sorted(
        [set_.manifest.generation, "index.json", *(["_attempts"] if folder.is_local else [])]
    )


def test_the_digest_is_of_documents_not_of_parts(folder: Folder) -> None:
    one, other = staged(folder, [[1], [2, 3]], [[4]]), staged(folder, [[1]], [[2, 3], [4]])
    assert ids_of(one) == ids_of(other)
    record_numbers_differ = one.manifest.digest != other.manifest.digest
    assert record_numbers_differ
    assert staged(folder, [[1], [2, 3], [4]]).manifest.digest == staged(folder, [[1], [2, 3], [4]], []).manifest.digest


def test_an_open_set_survives_one_commit_of_another(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    staged(folder, [[1]]).commit()
    old = TokenSet.open(folder)
    assert old is not None
    staged(folder, [[2]]).commit()
    assert ids_of(old) == [[1]]
    begin_token_set(folder).discard()
    live = TokenSet.open(folder)
    assert live is not None and ids_of(live) == [[2]]
    assert not folder.exists(old.manifest.generation)


def test_discard_and_death_leave_nothing(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    staged(folder, [[1]]).discard()
    assert files(folder) == []
    die(staged(folder, [[1]]).attempt)
    begin_token_set(folder).discard()
    assert files(folder) == []


def test_discard_after_the_commit_deletes_nothing(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    set_ = staged(folder, [[1]])
    set_.commit()
    set_.discard()
    tokens = TokenSet.open(folder)
    assert tokens is not None and ids_of(tokens) == [[1]]


def test_nothing_is_committed_where_staged_files_are_lost(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    staged(folder, [[1]]).commit()
    set_ = staged(folder, [[2]], [[3]])
    folder.remove(set_.parts[1].path)
    with pytest.raises(LostFilesError):
        set_.commit()
    tokens = TokenSet.open(folder)
    assert tokens is not None and ids_of(tokens) == [[1]]
