import itertools
import re
from pathlib import Path

import pytest

from llm_assets.store.folder import Folder
from llm_assets.store.shards import writer as shard_writer
from llm_assets.store.shards.shard_set import (
    ShardCorruptError,
    ShardMissingError,
    ShardSet,
    ShardSetError,
    ShardTruncatedError,
)
from llm_assets_tests.store.shards.examples import (
    Example,
    flipped,
    make_example,
    read,
    result_or_error,
    seal_again,
    stage,
)

BLOCK = 256
ROWS = 12


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_writer, "BLOCK_BYTES", BLOCK)


def right_or_error(folder: Path, example: Example) -> ShardSetError | None:
    """Read all rows of a set opened anew, whatever its files look like: they are right, or it is said what is not."""
    found = result_or_error(lambda: read(ShardSet.open(folder, check_files=False), 0, len(example.documents)))
    if isinstance(found, ShardSetError):
        return found
    assert found == (example.padded(), example.lengths())
    return None


def test_any_flipped_byte_is_found_before_it_is_handed_out(tmp_path: Path) -> None:
    example = make_example(3, ROWS, 16)
    shards = stage(Folder(str(tmp_path)), example, shard_bytes=300).commit({})
    layout, last = shards.index.layout, shards.shards()[-1]
    used = layout.lengths_offset(last.rows) + 4 * last.documents
    blocks_read = range(layout.input_ids_offset // BLOCK, -(-used // BLOCK))
    table, shard = shards.index.table_file, shards.index.shard_file(len(shards.shards()) - 1)
    records = range(shards.index.checks.offset, shards.index.checks.record_range(shards.index.shard_count)[0])
    for name in (shard, table):
        good = (tmp_path / name).read_bytes()
        for position in range(len(good)):
            (tmp_path / name).write_bytes(flipped(good, position, 1 << position % 8))
            error = right_or_error(tmp_path, example)
            if name == table:
                assert (error is not None) == (position in records)
                assert error is None or re.search(r"its record of shard \d is not", str(error))
            else:
                assert (error is not None) == (position // BLOCK in blocks_read)
                start = position // BLOCK * BLOCK
                assert error is None or f"block {position // BLOCK} (from byte {start}) does not" in str(error)
            assert error is None or (isinstance(error, ShardCorruptError) and error.file == f"{tmp_path}/{name}")
        (tmp_path / name).write_bytes(good)


def test_files_of_another_set_or_shard_never_pass(tmp_path: Path) -> None:
    """Also where the table and all the shards are those of another set, or of the same rows divided otherwise."""
    example = make_example(3, ROWS, 16)
    stage(Folder(str(tmp_path / "now")), example, shard_bytes=96).commit({})
    stage(Folder(str(tmp_path / "before")), make_example(4, ROWS, 16), shard_bytes=96).commit({})
    stage(Folder(str(tmp_path / "otherwise")), example, shard_bytes=128).commit({})
    now = {file.name: file for file in (tmp_path / "now" / "first").iterdir()}
    shards = [name for name in now if name.startswith("shard-")]
    for other in ("before", "otherwise"):
        for taken in ([*shards], ["shards.arrow"], [*now]):
            kept = {name: file.read_bytes() for name, file in now.items()}
            for name in taken:
                there = tmp_path / other / "first" / name
                if there.exists():
                    now[name].write_bytes(there.read_bytes())
            assert right_or_error(tmp_path / "now", example) is not None, f"{taken} of {other}"
            for name, data in kept.items():
                now[name].write_bytes(data)
    for one, two in itertools.combinations(now.values(), 2):
        first, second = one.read_bytes(), two.read_bytes()
        one.write_bytes(second), two.write_bytes(first)
        assert right_or_error(tmp_path / "now", example) is not None, f"{one.name} and {two.name}"
        one.write_bytes(first), two.write_bytes(second)
    assert right_or_error(tmp_path / "now", example) is None


def test_any_length_of_a_file_but_its_own_is_an_error(tmp_path: Path) -> None:
    example = make_example(4, 6, 8)
    shards = stage(Folder(str(tmp_path)), example).commit({})
    for name in (shards.index.shard_file(0), shards.index.table_file):
        good = (tmp_path / name).read_bytes()
        for size in range(0, len(good), 7):
            (tmp_path / name).write_bytes(good[:size])
            error = right_or_error(tmp_path, example)
            if name == shards.index.shard_file(0) or size < shards.index.checks.record_range(0)[1]:
                assert isinstance(error, ShardTruncatedError) and error.file == f"{tmp_path}/{name}"
        (tmp_path / name).unlink()
        error = right_or_error(tmp_path, example)
        assert isinstance(error, ShardMissingError) and error.file == f"{tmp_path}/{name}"
        (tmp_path / name).write_bytes(good)


def test_verify_finds_any_flipped_byte(tmp_path: Path) -> None:
    shards = stage(Folder(str(tmp_path)), make_example(3, 12, 16), shard_bytes=300).commit({})
    for shard in shards.shards()[:2]:
        path = tmp_path / "first" / shard.file
        good = path.read_bytes()
        for position in range(len(good)):
            path.write_bytes(flipped(good, position, 1 << position % 8))
            with pytest.raises(ShardCorruptError, match=rf"{shard.file}: block {position // BLOCK} "):
                shards.verify()
        path.write_bytes(good)
    shards.verify()


def test_truncated_shards_are_refused(tmp_path: Path) -> None:
    example = make_example(4, 6, 8)
    stage(Folder(str(tmp_path)), example).commit({})
    path = tmp_path / "first" / "shard-00000.arrow"
    good = path.read_bytes()
    for size in range(0, len(good), 7):
        path.write_bytes(good[:size])
        with pytest.raises(ShardTruncatedError, match=rf"first/shard-00000\.arrow: has {size} bytes of {len(good)}"):
            ShardSet.open(str(tmp_path))
        unchecked = ShardSet.open(str(tmp_path), check_files=False)
        found = result_or_error(lambda shards=unchecked: read(shards, 0, 6))
        assert isinstance(found, ShardTruncatedError) and found.file == str(path)
    path.write_bytes(good + b"\0")
    with pytest.raises(ShardCorruptError, match="1 too many"):
        ShardSet.open(str(tmp_path))
    path.unlink()
    with pytest.raises(ShardMissingError, match=r"first/shard-00000\.arrow"):
        ShardSet.open(str(tmp_path))
    with pytest.raises(ShardMissingError, match=r"first/shard-00000\.arrow"):
        ShardSet.open(str(tmp_path), check_files=False).input_ids(0, 1)


def test_damaged_document_lengths_are_refused(tmp_path: Path) -> None:
    shards = stage(Folder(str(tmp_path)), make_example(4, 6, 8)).commit({})
    path = tmp_path / "first" / "shard-00000.arrow"
    start = shards.index.layout.length_offsets_offset(6)
    path.write_bytes(flipped(path.read_bytes(), start + 4 * 3 + 3, 0x80))
    seal_again(shards)  # as if they had been written so
    with pytest.raises(ShardCorruptError, match="document_lengths"):
        ShardSet.open(str(tmp_path)).document_lengths(2, 5)
