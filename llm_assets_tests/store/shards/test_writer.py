import json
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import blake3
import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.store.folder import Folder
from llm_assets.store.shards.shard_set import (
    ShardMissingError,
)
from llm_assets.store.shards.writer import ShardSetWriter
from llm_assets_tests.store.shards.examples import (
    PAD,
    Example,
    any_folder,
    examples,
    make_example,
    read,
    stage,
)


def expected_digest(example: Example) -> str:
    dtype = "uint16" if example.vocabulary_size <= 65_536 else "uint32"
    header = {
        "dtype": dtype,
        "pad_id": PAD,
        "rows": len(example.documents),
        "sequence_length": example.sequence_length,
        "tokenizer": "fingerprint",
        "vocabulary_size": example.vocabulary_size,
    }
    parts = [
        np.array(example.padded(), f"<{np.dtype(dtype).str[1:]}").tobytes(),
        np.array([len(row) for row in example.lengths()], "<i4").tobytes(),
        np.array([length for row in example.lengths() for length in row], "<i4").tobytes(),
    ]
    digests = b"".join(blake3.blake3(part).digest() for part in parts)
    return blake3.blake3(json.dumps(header, separators=(",", ":")).encode() + digests).hexdigest()


@any_folder
@given(example=examples(), sizes=st.tuples(st.integers(1, 600), st.integers(1, 600)))
def test_digest_is_of_the_rows_alone(tmp_path: Path, example: Example, sizes: tuple[int, int]) -> None:
    folder = Folder(f"{tmp_path}/{uuid.uuid4().hex}")
    one = stage(folder, example, "one", sizes[0])
    other = stage(folder, example, "other", sizes[1], cuts=(3, 11))
    assert one.digest == other.digest == expected_digest(example)


def test_digest_tells_rows_apart(tmp_path: Path) -> None:
    base = Example(4, 9, [[[1, 2], [3]], [[4]]], [0, 0])
    others = [
        Example(4, 9, [[[1, 2], [4]], [[4]]], [0, 0]),
        Example(4, 9, [[[1], [2, 3]], [[4]]], [0, 0]),
        Example(4, 9, [[[1, 2], [3]], [[4, PAD]]], [0, 0]),
        Example(4, 9, [[[4]], [[1, 2], [3]]], [0, 0]),
        replace(base, vocabulary_size=10),
    ]
    digests = {
        stage(Folder(str(tmp_path)), example, f"g{number}").digest for number, example in enumerate([base, *others])
    }
    assert len(digests) == 1 + len(others)


@pytest.mark.parametrize("vocabulary_size", [500, 70_000])
@pytest.mark.parametrize("sequence_length", [1, 7, 64, 1024])
def test_any_arrow_reader_reads_a_shard(tmp_path: Path, vocabulary_size: int, sequence_length: int) -> None:
    example = make_example(1, 10, sequence_length, vocabulary_size)
    staged = stage(Folder(str(tmp_path)), example, shard_bytes=sequence_length * 4 * 3)
    assert staged.index.layout.input_ids_offset % 64 == 0
    rows: list[dict[str, Any]] = []
    for shard in staged.shards():
        data = (tmp_path / "first" / shard.file).read_bytes()
        assert (len(data), xxhash.xxh3_128_hexdigest(data)) == (shard.bytes, shard.checksum)
        reader = pa.ipc.open_file(data)
        assert reader.num_record_batches == 1
        reader.get_batch(0).validate(full=True)
        rows += reader.get_batch(0).to_pylist()
    assert [row["input_ids"] for row in rows] == example.padded()
    assert [row["document_lengths"] for row in rows] == example.lengths()


def test_written_bytes_do_not_depend_on_calls_or_generation(tmp_path: Path) -> None:
    example = make_example(2, 50, 16)
    stage(Folder(str(tmp_path)), example, "one", 300)
    stage(Folder(str(tmp_path)), example, "two", 300, cuts=(1, 2, 17, 33))
    for name in sorted(path.name for path in (tmp_path / "one").iterdir()):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_arrays_given_may_be_reused(tmp_path: Path) -> None:
    ids, lengths = np.full((1, 4), 5, np.uint16), np.array([4])
    with ShardSetWriter(
        Folder(str(tmp_path)), "g", sequence_length=4, vocabulary_size=9, pad_id=0, tokenizer="t"
    ) as writer:
        writer.append(ids, [0, 1], lengths)
        ids[:], lengths[:] = 0, 1
        writer.append(ids, [0, 1], lengths)
        staged = writer.finish()
    assert read(staged, 0, 2) == ([[5, 5, 5, 5], [0, 0, 0, 0]], [[4], [1]])
    assert staged.index.rows_by_source == {}


def test_commit_refuses_what_json_cannot_hold_and_what_is_gone(tmp_path: Path) -> None:
    staged = stage(Folder(str(tmp_path)), make_example(1, 4, 8))
    for manifest, error in (({"a": object()}, TypeError), ({"a": float("nan")}, ValueError)):
        with pytest.raises(error):
            staged.commit(manifest)
    (tmp_path / "first" / "shard-00000.arrow").unlink()
    with pytest.raises(ShardMissingError, match=r"first/shard-00000\.arrow"):
        staged.commit({})
    assert not (tmp_path / "index.json").exists()


def test_discarded_and_abandoned_attempts_leave_nothing(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    stage(folder, make_example(1, 4, 8)).discard()
    with pytest.raises(ValueError, match="row 0"):
        stage(folder, Example(4, 3, [[[9]]], [0]))
    assert folder.names() == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": np.zeros((3, 5), int)}, "shape"),
        ({"ids": np.zeros((3, 4))}, "float64"),
        ({"ids": np.array([[1, 2, 3, 0], [1, 2, 9, 0], [1, 0, 0, 0]])}, "row 11 .* vocabulary of 9"),
        ({"ids": np.array([[1, 2, 3, 0], [1, 2, -1, 0], [1, 0, 0, 0]])}, "row 11 .* vocabulary of 9"),
        ({"ids": np.array([[1, 2, 3, 0], [1, 2, 3, 0], [1, 0, 7, 0]])}, "row 12 has padding other than 0"),
        ({"offsets": [0, 2, 3]}, "3 offsets"),
        ({"offsets": [0, 2, 3, 5]}, "4 offsets do not cut 4 lengths"),
        ({"offsets": [0, 3, 2, 4]}, "row 11 holds no document"),
        ({"offsets": [0, 2, 2, 4]}, "row 11 holds no document"),
        ({"lengths": [2, 1, 0, 1]}, "row 11 holds a document without tokens"),
        ({"lengths": [2, 3, 3, 1]}, "row 10 holds more than 4 tokens"),
        ({"lengths": [[2, 1, 3, 1]]}, "lengths"),
        ({"lengths": [2.0, 1.0, 3.0, 1.0]}, "lengths"),
        ({"sources": [0, 2, 0]}, "row 11 names none of the 2 sources"),
        ({"sources": [0, 0]}, "2 sources for 3 rows"),
        ({"sources": None}, "2 sources: give"),
    ],
)
def test_writer_refuses_unsound_rows(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    good = {
        "ids": np.array([[1, 2, 3, 0], [1, 2, 3, 0], [1, 0, 0, 0]]),
        "offsets": [0, 2, 3, 4],
        "lengths": [2, 1, 3, 1],
        "sources": [0, 1, 0],
    }
    with ShardSetWriter(
        Folder(str(tmp_path)),
        "g",
        sequence_length=4,
        vocabulary_size=9,
        pad_id=0,
        tokenizer="t",
        sources=("a", "b"),
    ) as writer:
        writer.append(*good.values())
        writer.append(np.full((7, 4), 8, np.int32), np.arange(8), [4] * 7, [1] * 7)
        with pytest.raises(ValueError, match=message):
            writer.append(*(good | change).values())
        writer.append(*good.values())
        staged = writer.finish()
        for again in (writer.finish, lambda: writer.append(*good.values())):
            with pytest.raises(ValueError, match="finished"):
                again()
    assert staged.rows == 13
    assert staged.index.tokens_by_source == {"a": 8, "b": 34}


@pytest.mark.parametrize(
    "change",
    [
        {"generation": "../out"},
        {"generation": ".hidden"},
        {"generation": "taken"},
        {"sequence_length": 0},
        {"vocabulary_size": 0},
        {"pad_id": 9},
        {"pad_id": -1},
        {"sources": ("a", "a")},
    ],
)
def test_writer_refuses_senseless_parameters(tmp_path: Path, change: dict[str, Any]) -> None:
    folder = Folder(str(tmp_path))
    stage(folder, make_example(1, 1, 4), "taken")
    parameters: dict[str, Any] = {
        "generation": "g",
        "sequence_length": 4,
        "vocabulary_size": 9,
        "pad_id": 0,
        "tokenizer": "t",
    }
    ShardSetWriter(folder, **parameters)
    with pytest.raises(ValueError):
        ShardSetWriter(folder, **(parameters | change))
