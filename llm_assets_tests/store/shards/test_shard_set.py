import itertools
import multiprocessing
import pickle
import uuid
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.store.folder import Folder
from llm_assets.store.shards.shard_set import (
    ShardSet,
    ShardSetMissingError,
)
from llm_assets_tests.store.shards.examples import (
    Example,
    any_folder,
    examples,
    make_example,
    read,
    stage,
)


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


def _rows_of(shards: ShardSet) -> list[list[int]]:
    return shards.input_ids(0, shards.rows).tolist()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_the_same(tmp_path: Path, method: str) -> None:
    example = make_example(6, 30, 8)
    shards = stage(Folder(str(tmp_path)), example, shard_bytes=100).commit({})
    _rows_of(shards)
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(_rows_of, (shards,)) == example.padded()
        pool.close()
        pool.join()


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
