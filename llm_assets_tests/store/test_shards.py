import itertools
import json
import multiprocessing
import pickle
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import blake3
import fsspec
import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_assets.store import shard_writer
from llm_assets.store.folder import Folder
from llm_assets.store.shard_writer import ShardSetWriter, StagedShardSet
from llm_assets.store.shards import (
    IndexMalformedError,
    IndexVersionError,
    ShardCorruptError,
    ShardMissingError,
    ShardSet,
    ShardSetError,
    ShardSetMissingError,
    ShardTruncatedError,
)

PAD = 0
Result = TypeVar("Result")


@dataclass(frozen=True)
class Example:
    """Rows as plain Python: per row its documents, each a list of ids, and its source."""

    sequence_length: int
    vocabulary_size: int
    documents: list[list[list[int]]]
    sources: list[int]

    def padded(self) -> list[list[int]]:
        rows = [[token for document in row for token in document] for row in self.documents]
        return [row + [PAD] * (self.sequence_length - len(row)) for row in rows]

    def lengths(self) -> list[list[int]]:
        return [[len(document) for document in row] for row in self.documents]


def make_example(seed: int, rows: int, sequence_length: int, vocabulary_size: int = 1000) -> Example:
    random = np.random.default_rng(seed)
    documents: list[list[list[int]]] = []
    for _ in range(rows):
        row: list[list[int]] = []
        room = sequence_length
        while room and (not row or random.random() < 0.8):
            length = int(random.integers(1, room + 1))
            row.append(random.integers(0, vocabulary_size, length).tolist())
            room -= length
        documents.append(row)
    return Example(sequence_length, vocabulary_size, documents, random.integers(0, 2, rows).tolist())


@st.composite
def examples(draw: st.DrawFn) -> Example:
    rows, length = draw(st.integers(0, 40)), draw(st.integers(1, 17))
    vocabulary = draw(st.sampled_from([2, 1000, 65_536, 65_537, 1 << 32]))
    return make_example(draw(st.integers(0, 2**32)), rows, length, vocabulary)


def stage(
    folder: Folder,
    example: Example,
    generation: str = "first",
    shard_bytes: int = 64 << 20,
    cuts: tuple[int, ...] = (),
) -> StagedShardSet:
    """Write an example, in as many calls of `append` as cuts make of it."""
    writer = ShardSetWriter(
        folder,
        generation,
        sequence_length=example.sequence_length,
        vocabulary_size=example.vocabulary_size,
        pad_id=PAD,
        tokenizer="fingerprint",
        sources=("web", "code"),
        shard_bytes=shard_bytes,
    )
    ids = np.array(example.padded(), np.int64).reshape(-1, example.sequence_length)
    counts = [len(row) for row in example.lengths()]
    offsets = np.concatenate([[0], np.cumsum(np.array(counts, np.int64))]).astype(np.int64)
    lengths = [length for row in example.lengths() for length in row]
    bounds = sorted({0, len(ids), *(cut for cut in cuts if cut <= len(ids))})
    with writer:
        for first, last in itertools.pairwise(bounds):
            writer.append(ids[first:last], offsets[first : last + 1], lengths, example.sources[first:last])
        return writer.finish()


def read(shards: ShardSet, first: int, last: int) -> tuple[list[list[int]], list[list[int]]]:
    offsets, lengths = shards.document_lengths(first, last)
    bounds = itertools.pairwise(offsets)
    return shards.input_ids(first, last).tolist(), [lengths[start:stop].tolist() for start, stop in bounds]


@pytest.fixture
def remote() -> Iterator[Folder]:
    folder = Folder(f"memory://shards-{uuid.uuid4().hex}")
    yield folder
    fsspec.filesystem("memory").rm(folder.path, recursive=True)


any_folder = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@any_folder
@given(example=examples(), shard_bytes=st.integers(1, 600), cuts=st.tuples(st.integers(0, 40), st.integers(0, 40)))
def test_rows_come_back(tmp_path: Path, example: Example, shard_bytes: int, cuts: tuple[int, int]) -> None:
    folder = Folder(f"{tmp_path}/{uuid.uuid4().hex}")
    stage(folder, example, shard_bytes=shard_bytes, cuts=cuts).commit({"made": ["of", 1]})
    shards = ShardSet.open(folder.uri)
    shards.verify()
    rows = len(example.documents)
    assert read(shards, 0, rows) == (example.padded(), example.lengths())
    assert shards.rows == shards.index.rows == rows == sum(shard.rows for shard in shards.shards())
    assert shards.index.documents == sum(map(len, example.lengths()))
    assert shards.index.tokens == sum(map(sum, example.lengths()))
    assert shards.index.manifest == {"made": ["of", 1]}
    assert shards.dtype == (np.uint16 if example.vocabulary_size <= 65_536 else np.uint32)
    for number, source in enumerate(("web", "code")):
        of_source = [sum(row) for row, code in zip(example.lengths(), example.sources, strict=True) if code == number]
        assert shards.index.rows_by_source[source] == len(of_source)
        assert shards.index.tokens_by_source[source] == sum(of_source)


@any_folder
@given(
    example=examples(),
    shard_bytes=st.integers(1, 200),
    ends=st.tuples(st.integers(0, 40), st.integers(0, 40)),
    seed=st.integers(0, 99),
)
def test_slices_and_takes_across_shards(
    tmp_path: Path, example: Example, shard_bytes: int, ends: tuple[int, int], seed: int
) -> None:
    staged = stage(Folder(f"{tmp_path}/{uuid.uuid4().hex}"), example, shard_bytes=shard_bytes)
    first, last = sorted(min(end, staged.rows) for end in ends)
    assert read(staged, first, last) == (example.padded()[first:last], example.lengths()[first:last])
    wanted = np.random.default_rng(seed).integers(0, max(staged.rows, 1), 30 if staged.rows else 0)
    ids, (offsets, lengths) = staged.take(wanted)
    assert ids.tolist() == [example.padded()[row] for row in wanted]
    taken = [lengths[start:stop].tolist() for start, stop in itertools.pairwise(offsets)]
    assert taken == [example.lengths()[row] for row in wanted]


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


def test_index_does_not_grow_with_the_set(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    few = stage(folder, make_example(1, 10, 8), "few", 16)
    many = stage(folder, make_example(1, 990, 8), "many", 16)
    assert many.index.shard_count == 990
    assert len(many.index.to_bytes()) < len(few.index.to_bytes()) + 20


def test_what_is_staged_is_invisible_until_committed(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    old, new = make_example(1, 40, 8), make_example(2, 30, 8)
    staged = stage(folder, old, "old", 100)
    with pytest.raises(ShardSetMissingError, match=r"index\.json"):
        ShardSet.open(folder)
    staged.commit({})
    reader = ShardSet.open(folder)
    copy = pickle.dumps(reader)
    replacement = stage(folder, new, "new", 100)
    assert ShardSet.open(folder).digest == staged.digest
    replacement.commit({})
    assert read(ShardSet.open(folder), 0, 30) == (new.padded(), new.lengths())
    for reopened in (reader, pickle.loads(copy)):
        assert read(reopened, 0, 40) == (old.padded(), old.lengths())


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


def result_or_error(action: Callable[[], Result]) -> Result | ShardSetError:
    try:
        return action()
    except ShardSetError as error:
        return error


def flipped(data: bytes, position: int, mask: int) -> bytes:
    return data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :]


def test_any_flipped_byte_of_a_shard_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_writer, "BLOCK_BYTES", 256)
    shards = stage(Folder(str(tmp_path)), make_example(3, 12, 16), shard_bytes=300).commit({})
    for shard in shards.shards()[:2]:
        path = tmp_path / "first" / shard.file
        good = path.read_bytes()
        for position in range(len(good)):
            path.write_bytes(flipped(good, position, 1 << position % 8))
            with pytest.raises(ShardCorruptError, match=rf"{shard.file}: block {position // 256} "):
                shards.verify()
        path.write_bytes(good)
    shards.verify()


def test_any_flipped_byte_of_index_or_table_is_found(tmp_path: Path) -> None:
    shards = stage(Folder(str(tmp_path)), make_example(3, 4, 16)).commit({"by": "test"})
    for name in ("index.json", "first/shards.arrow"):
        good = (tmp_path / name).read_bytes()
        for position in range(len(good)):
            (tmp_path / name).write_bytes(flipped(good, position, 1 << position % 8))
            found = result_or_error(lambda: ShardSet.open(str(tmp_path)))
            if isinstance(found, ShardSet):  # one blank for another
                assert name == "index.json" and good[position : position + 1].isspace()
                assert found.index == shards.index
            else:
                assert found.file == f"{tmp_path}/{name}"
        (tmp_path / name).write_bytes(good)


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
        if isinstance(found, ShardSetError):
            assert isinstance(found, ShardTruncatedError) and found.file == str(path)
        else:
            assert found == (example.padded(), example.lengths())
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
    with pytest.raises(ShardCorruptError, match="document_lengths"):
        ShardSet.open(str(tmp_path)).document_lengths(2, 5)


def test_strange_indexes_are_refused(tmp_path: Path) -> None:
    stage(Folder(str(tmp_path)), make_example(4, 6, 8)).commit({})
    path = tmp_path / "index.json"
    good = json.loads(path.read_bytes())

    def refused(content: object, error: type[ShardSetError], match: str) -> None:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        with pytest.raises(error, match=match):
            ShardSet.open(str(tmp_path))

    def checked(content: dict[str, Any]) -> dict[str, Any]:
        rest = {key: value for key, value in content.items() if key != "checksum"}
        text = json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()
        return rest | {"checksum": xxhash.xxh3_128_hexdigest(text)}

    refused(good | {"format": 2}, IndexVersionError, r"index\.json: has format 2; this version reads up to 1")
    refused("", IndexMalformedError, "not JSON")
    refused(json.dumps(good)[:-9], IndexMalformedError, "not JSON")
    refused([good], IndexMalformedError, "not a JSON object")
    refused({}, IndexMalformedError, "no format number")
    refused(good | {"pad_id": 3}, IndexMalformedError, "checksum")
    refused(checked({**good, "colour": 3}), IndexMalformedError, "colour")
    refused(checked({key: value for key, value in good.items() if key != "rows"}), IndexMalformedError, "rows")
    path.write_text(json.dumps(checked(good)))
    assert ShardSet.open(str(tmp_path)).rows == 6


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
        ({"sources": None}, "2 sources: say"),
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


def test_remote_sets_are_read_by_range(remote: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
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
    shards.input_ids(12, 13)
    shards.document_lengths(12, 13)
    assert fetched == [32, 8, 4 * len(example.lengths()[12])]


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


def _rows_of(shards: ShardSet) -> list[list[int]]:
    return shards.input_ids(0, shards.rows).tolist()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_the_same(tmp_path: Path, method: str) -> None:
    example = make_example(6, 30, 8)
    shards = stage(Folder(str(tmp_path)), example, shard_bytes=100).commit({})
    _rows_of(shards)
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(_rows_of, (shards,)) == example.padded()


def test_rows_are_read_only_and_bounded(tmp_path: Path) -> None:
    shards = stage(Folder(str(tmp_path)), make_example(6, 3, 8)).commit({})
    with pytest.raises(ValueError, match="read-only"):
        shards.input_ids(0, 2)[0, 0] = 1
    for first, last in ((-1, 1), (2, 1), (0, 4)):
        with pytest.raises(IndexError):
            shards.input_ids(first, last)
        with pytest.raises(IndexError):
            shards.document_lengths(first, last)
    for row in (-1, 3):
        with pytest.raises(IndexError):
            shards.take(np.array([row]))
