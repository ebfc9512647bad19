import os
import pickle
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import xxhash

from llm_assets.store.folder import Folder
from llm_assets.store.shards import checks as shard_checks
from llm_assets.store.shards import files as shard_files
from llm_assets.store.shards import writer as shard_writer
from llm_assets.store.shards.shard_set import ShardCorruptError, ShardMissingError, ShardSet, ShardTruncatedError
from llm_assets_tests.store.shards.examples import flipped, make_example, read, result_or_error, stage

BLOCK = 64


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each checksum was made of."""
    sizes: list[int] = []

    class Counted:
        @staticmethod
        def xxh3_64_intdigest(data: Any, seed: int = 0) -> int:
            sizes.append(len(data))
            return xxhash.xxh3_64_intdigest(data, seed)

    monkeypatch.setattr(shard_checks, "xxhash", Counted)
    return sizes


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ShardSet:
    """Three shards of eight rows, in blocks of two rows."""
    monkeypatch.setattr(shard_writer, "BLOCK_BYTES", BLOCK)
    return stage(Folder(str(tmp_path)), make_example(1, 24, 16), shard_bytes=8 * 32).commit({})


@pytest.fixture
def remote() -> Iterator[Folder]:
    folder = Folder(f"memory://shards-{uuid.uuid4().hex}")
    yield folder
    fsspec.filesystem("memory").rm(folder.path, recursive=True)


def test_local_rows_are_views_and_each_block_is_checked_once(local: ShardSet, hashed: list[int]) -> None:
    assert local.index.layout.input_ids_offset % BLOCK == 0
    local.input_ids(2, 3)
    assert hashed.count(BLOCK) == 1
    rows = local.input_ids(1, 5)
    assert hashed.count(BLOCK) == 3
    assert not rows.flags.owndata and np.shares_memory(rows, local.input_ids(0, 8))
    assert hashed.count(BLOCK) == 4
    hashed.clear()
    local.input_ids(0, 8)
    assert hashed == []
    copy = pickle.loads(pickle.dumps(local))
    copy.input_ids(0, 2)
    assert hashed.count(BLOCK) == 1


def test_what_is_known_of_a_shard_outlives_its_mapping_but_not_its_file(
    local: ShardSet, hashed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_files, "_MAPS_KEPT", 1)
    shards = ShardSet(local.folder, local.index)
    for _ in range(2):
        shards.input_ids(0, 24)
    assert hashed.count(BLOCK) == 12
    path = Path(shards.uri) / shards.index.shard_file(0)
    other = path.with_name("other")
    other.write_bytes(flipped(path.read_bytes(), shards.index.layout.input_ids_offset, 1))
    other.replace(path)
    shards.input_ids(8, 24)
    with pytest.raises(ShardCorruptError, match=r"shard-00000\.arrow: block \d+ \(from byte \d+\) does not match"):
        shards.input_ids(0, 2)


def test_what_is_damaged_stays_an_error(local: ShardSet) -> None:
    path = Path(local.uri) / local.index.shard_file(1)
    path.write_bytes(flipped(path.read_bytes(), local.index.layout.input_ids_offset, 1))
    for _ in range(2):
        with pytest.raises(ShardCorruptError):
            local.input_ids(8, 9)
    with pytest.raises(ShardCorruptError):
        local.input_ids(0, 24)
    with pytest.raises(ShardCorruptError):
        local.take(np.array([0, 9, 23]))
    assert local.input_ids(10, 12).shape == (2, 16)  # in another block


def test_a_shard_cut_short_while_it_is_mapped_is_an_error(local: ShardSet) -> None:
    """And not a signal that ends the process, whether its blocks are known or not."""
    path = Path(local.uri) / local.index.shard_file(0)
    local.input_ids(0, 2)
    os.truncate(path, 100)
    for first in (0, 6):
        with pytest.raises(ShardTruncatedError, match=r"shard-00000\.arrow: has 100 bytes of \d+"):
            local.input_ids(first, first + 2)


def test_take_reads_no_more_of_a_shard_than_lies_between_its_rows(local: ShardSet, hashed: list[int]) -> None:
    ids, _ = local.take(np.array([3, 2, 3]))
    assert ids.tolist() == [local.input_ids(row, row + 1).tolist()[0] for row in (3, 2, 3)]
    assert hashed.count(BLOCK) <= 3  # one of ids, the others of lengths


def test_remote_sets_are_read_by_blocks(remote: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_writer, "BLOCK_BYTES", BLOCK)
    example = make_example(5, 40, 16)
    stage(remote, example, shard_bytes=16 * 2 * 9).commit({})
    shards = ShardSet.open(remote.uri)
    shards.verify()
    assert read(shards, 0, 40) == (example.padded(), example.lengths())
    assert shards.take(np.array([39, 0, 17]))[0].tolist() == [example.padded()[row] for row in (39, 0, 17)]
    fetched: list[int] = []
    plain = type(remote.filesystem).cat_file

    def counted(filesystem: Any, path: str, start: int, end: int) -> bytes:
        fetched.append(end - start)
        return plain(filesystem, path, start=start, end=end)

    monkeypatch.setattr(type(remote.filesystem), "cat_file", counted)
    again = ShardSet(Folder(remote.uri), shards.index)
    again.input_ids(13, 14)
    assert fetched == [shards.index.checks.stride, BLOCK]
    again.input_ids(14, 15)  # in the same block
    assert len(fetched) == 2
    assert again.input_ids(9, 18).tolist() == example.padded()[9:18]
    assert len(fetched) == 3  # in one request what is missing at its ends and between them
    again.document_lengths(12, 13)
    known = len(fetched)
    again.document_lengths(12, 13)
    assert len(fetched) == known and not again.input_ids(9, 10).flags.writeable


def test_no_flipped_byte_of_a_remote_set_is_handed_out(remote: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_writer, "BLOCK_BYTES", BLOCK)
    example = make_example(5, 6, 16)
    index = stage(remote, example).commit({}).index
    errors = 0
    for name in (index.shard_file(0), index.table_file):
        good = remote.read(name)
        for position in range(0, len(good), 3):
            remote.put(name, flipped(good, position, 1 << position % 8))
            found = result_or_error(lambda: read(ShardSet(Folder(remote.uri), index), 0, 6))
            if isinstance(found, tuple):
                assert found == (example.padded(), example.lengths())
            else:
                assert isinstance(found, ShardCorruptError) and found.file == f"{remote.uri}/{name}"
                errors += 1
        remote.put(name, good)
    assert errors > 100


def test_damage_to_remote_sets_is_named(remote: Folder) -> None:
    shards = stage(remote, make_example(5, 10, 16)).commit({})
    good = remote.read("first/shard-00000.arrow")
    remote.put("first/shard-00000.arrow", flipped(good, len(good) // 2, 4))
    with pytest.raises(ShardCorruptError, match=r"first/shard-00000\.arrow: block 0 "):
        shards.verify()
    remote.put("first/shard-00000.arrow", good[: shards.index.layout.input_ids_offset + 40])
    with pytest.raises(ShardTruncatedError, match=r"first/shard-00000\.arrow"):
        ShardSet.open(remote.uri)
    with pytest.raises(ShardTruncatedError, match=r"first/shard-00000\.arrow"):
        shards.input_ids(0, 2)
    remote.remove("first/shard-00000.arrow")
    with pytest.raises(ShardMissingError, match=r"first/shard-00000\.arrow"):
        shards.input_ids(0, 2)
    with pytest.raises(ShardMissingError, match=r"first/shard-00000\.arrow"):
        ShardSet.open(remote.uri)
