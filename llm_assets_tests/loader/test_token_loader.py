import json
import os
import pickle
import subprocess
import sys
import uuid
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from llm_assets.loader import DigestMismatchError, LoaderStateError, TokenLoader, WorkerProcessError
from llm_assets.loader import batch as batch_module
from llm_assets.loader.batch import FIELDS, expand
from llm_assets.store.folder import Folder
from llm_assets.store.shard_writer import ShardSetWriter
from llm_assets.store.shards import DocumentLengths, ShardCorruptError, ShardSet, ShardSetMissingError

LENGTH = 12


def write(folder: Path, rows: int, seed: int = 0, shard_rows: int = 7) -> ShardSet:
    random = np.random.default_rng(seed)
    ids = np.zeros((rows, LENGTH), np.int64)
    offsets, lengths = [0], []
    for row in range(rows):
        used = 0
        while used < LENGTH and (used == 0 or random.random() < 0.8):
            lengths.append(int(random.integers(1, LENGTH - used + 1)))
            used += lengths[-1]
        ids[row, :used] = random.integers(0, 1000, used)
        offsets.append(len(lengths))
    with ShardSetWriter(
        Folder(str(folder)),
        uuid.uuid4().hex,
        sequence_length=LENGTH,
        vocabulary_size=1000,
        pad_id=0,
        tokenizer="t",
        shard_bytes=2 * LENGTH * shard_rows,
    ) as writer:
        writer.append(ids, offsets, lengths)
        return writer.finish().commit({})


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    return write(tmp_path_factory.mktemp("set"), 101)


def plain(batches: Any) -> list[dict[str, list[list[int]]]]:
    return [{name: tensor.tolist() for name, tensor in batch.items()} for batch in batches]


@pytest.fixture(autouse=True)
def few_tokens_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_module, "_TOKENS_AT_ONCE", 3 * LENGTH + 1)


def slow_rows(shards: ShardSet) -> list[dict[str, list[int]]]:
    """The oracle: each row by itself, token by token."""
    rows: list[dict[str, list[int]]] = []
    offsets, lengths = shards.document_lengths(0, shards.rows)
    for ids, (start, stop) in zip(shards.input_ids(0, shards.rows).tolist(), pairwise(offsets), strict=True):
        labels, positions, documents = [], [], []
        for number, length in enumerate(lengths[start:stop].tolist()):
            for position in range(length):
                labels.append(-100 if position == 0 else ids[len(labels)])
                positions.append(position)
                documents.append(number)
        padding = LENGTH - len(labels)
        labels += [-100] * padding
        positions += range(padding)
        documents += [-1] * padding
        rows.append(dict(zip(FIELDS, (ids, labels, positions, documents), strict=True)))
    return rows


def slow_batches(shards: ShardSet, batch_size: int) -> list[dict[str, list[list[int]]]]:
    rows = slow_rows(shards)
    starts = range(0, len(rows) - batch_size + 1, batch_size)
    return [{name: [row[name] for row in rows[start : start + batch_size]] for name in FIELDS} for start in starts]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.integers(1, 60), seed=st.integers(0, 2**32), shard_rows=st.integers(1, 60), data=st.data())
def test_batches_equal_rows_expanded_token_by_token(
    tmp_path: Path, rows: int, seed: int, shard_rows: int, data: st.DataObject
) -> None:
    shards = write(tmp_path / uuid.uuid4().hex, rows, seed, shard_rows)
    batch_size = data.draw(st.integers(1, rows))
    loader = TokenLoader(shards, batch_size=batch_size)
    assert plain(loader) == slow_batches(shards, batch_size)


def test_tensors_are_int64_and_the_consumers_own(shards: ShardSet) -> None:
    loader = TokenLoader(shards, batch_size=4)
    batches = list(loader)
    assert tuple(batches[0]) == FIELDS
    assert {(tensor.dtype, tensor.shape) for batch in batches for tensor in batch.values()} == {
        (torch.int64, (4, LENGTH))
    }
    for batch in batches:
        for tensor in batch.values():
            tensor.fill_(-7)
    assert plain(loader) == slow_batches(shards, 4)


def test_memory_is_used_again_only_when_nothing_holds_it(shards: ShardSet) -> None:
    loader = TokenLoader(shards, batch_size=2)
    expected = slow_batches(shards, 2)
    random = np.random.default_rng(0)
    held: dict[int, torch.Tensor] = {}
    places: set[int] = set()
    for number, batch in enumerate(loader):
        places.add(batch["input_ids"].data_ptr())
        if random.random() < 0.3:  # a view of one field of the batch
            held[number] = batch["labels"][1:].view(-1)
        if held and random.random() < 0.25:
            del held[random.choice(list(held))]
        for kept, view in held.items():
            assert view.tolist() == expected[kept]["labels"][1]
    assert len(places) < len(loader)


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 6, 12])
def test_any_world_size_gives_the_same_global_batches(shards: ShardSet, world_size: int) -> None:
    loaders = [TokenLoader(shards, batch_size=12, rank=rank, world_size=world_size) for rank in range(world_size)]
    whole = [
        {name: torch.cat([part[name] for part in parts]) for name in FIELDS} for parts in zip(*loaders, strict=True)
    ]
    assert plain(whole) == slow_batches(shards, 12)
    assert {len(loader) for loader in loaders} == {8}
    assert {loader.unused_rows for loader in loaders} == {101 - 8 * 12}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stops=st.lists(st.tuples(st.integers(0, 12), st.sampled_from([1, 2, 3, 4, 6])), min_size=1, max_size=5))
def test_resumed_runs_equal_an_uninterrupted_one(shards: ShardSet, stops: list[tuple[int, int]]) -> None:
    """Each process delivers some batches to ranks of some world, is saved, and dies with an iterator in mid-air."""
    delivered: list[dict[str, list[list[int]]]] = []
    states: list[dict[str, Any]] = []
    wanted = sum(batches for batches, _ in stops)
    for batches, world_size in stops:
        ranks = [TokenLoader(shards, batch_size=12, rank=rank, world_size=world_size) for rank in range(world_size)]
        for rank in ranks if states else ():
            rank.load_state_dict(json.loads(json.dumps(states[-1])))
        iterators = [iter(rank) for rank in ranks]
        for _ in range(batches):
            parts = [next(iterator, None) for iterator in iterators]
            if parts[0] is None:
                iterators = [iter(rank) for rank in ranks]
                parts = [next(iterator) for iterator in iterators]
            delivered += plain([{name: torch.cat([part[name] for part in parts if part]) for name in FIELDS}])
        states.append(ranks[0].state_dict())
        assert all(rank.state_dict() == states[-1] for rank in ranks)
    epochs = slow_batches(shards, 12) * 8
    assert delivered == epochs[:wanted]


def test_state_counts_what_was_delivered(shards: ShardSet) -> None:
    loader = TokenLoader(shards, batch_size=10)
    assert (loader.epoch, loader.position, loader.unused_rows) == (0, 0, 1)
    for number, _ in enumerate(loader, start=1):
        assert loader.state_dict()["position"] == loader.position == 10 * number
    assert (loader.epoch, loader.position) == (1, 0)


def test_a_broken_off_loop_goes_on_and_a_finished_one_starts_again(shards: ShardSet) -> None:
    loader = TokenLoader(shards, batch_size=10)
    expected = slow_batches(shards, 10)
    seen = []
    for batch in loader:
        seen.append(batch)
        if len(seen) == 4:
            break
    assert plain([*seen, *loader]) == expected
    assert plain(loader) == expected
    assert loader.epoch == 2


def test_a_state_saved_after_the_last_batch_ends_the_epoch_first(shards: ShardSet) -> None:
    loader, resumed = TokenLoader(shards, batch_size=50), TokenLoader(shards, batch_size=50)
    iterator = iter(loader)
    for _ in range(2):
        next(iterator)
    resumed.load_state_dict(loader.state_dict())
    assert list(resumed) == []
    assert (resumed.epoch, len(list(resumed))) == (1, 2)
    assert list(iterator) == []
    resumed.load_state_dict(loader.state_dict())
    assert (resumed.epoch, len(list(resumed))) == (1, 2)


def test_another_batch_size_goes_on_at_the_same_row(shards: ShardSet) -> None:
    loader, larger = TokenLoader(shards, batch_size=5), TokenLoader(shards, batch_size=20)
    rows = [next(iter(loader))["input_ids"] for _ in range(3)]
    larger.load_state_dict(loader.state_dict())
    assert larger.unused_rows == (101 - 15) % 20
    rows += [batch["input_ids"] for batch in larger]
    assert torch.cat(rows).tolist() == shards.input_ids(0, 95).tolist()


def test_states_of_other_sets_and_strange_states_are_refused(shards: ShardSet, tmp_path: Path) -> None:
    loader = TokenLoader(shards, batch_size=10)
    next(iter(loader))
    good = loader.state_dict()
    other = TokenLoader(write(tmp_path, 101, seed=1), batch_size=10)
    with pytest.raises(DigestMismatchError, match=shards.digest):
        other.load_state_dict(good)
    for change in ({"version": 2}, {"position": -1}, {"position": 102}, {"position": 1.0}, {"epoch": None}):
        with pytest.raises(LoaderStateError):
            loader.load_state_dict(good | change)
    with pytest.raises(LoaderStateError):
        loader.load_state_dict({})
    assert (other.position, loader.position) == (0, 10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch of 0"),
        ({"batch_size": 9, "world_size": 2}, "batch of 9 rows cannot be shared by 2"),
        ({"rank": 2, "world_size": 2}, "rank 2"),
        ({"rank": -1}, "rank -1"),
        ({"world_size": 0}, "world of 0"),
        ({"batch_size": 102}, "102 rows: .* has only 101"),
    ],
)
def test_senseless_parameters_are_refused(shards: ShardSet, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TokenLoader(shards, **({"batch_size": 10} | change))


def test_a_uri_is_opened(shards: ShardSet, tmp_path: Path) -> None:
    assert TokenLoader(shards.uri, batch_size=4).set.digest == shards.digest
    assert TokenLoader(Path(shards.uri), batch_size=4).set.index == shards.index
    with pytest.raises(ShardSetMissingError):
        TokenLoader(tmp_path, batch_size=4)


def test_data_loader_without_workers_gives_the_same(shards: ShardSet) -> None:
    loader = TokenLoader(shards, batch_size=10)
    batches = DataLoader(loader, batch_size=None)
    assert len(batches) == 10
    for number, batch in enumerate(batches):
        assert plain([batch]) == slow_batches(shards, 10)[number : number + 1]
        assert loader.position == 10 * (number + 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_data_loader_with_workers_is_refused(shards: ShardSet, workers: int) -> None:
    loader = TokenLoader(shards, batch_size=10)
    with pytest.raises(WorkerProcessError, match="num_workers=0"):
        next(iter(DataLoader(loader, batch_size=None, num_workers=workers)))


def test_a_pickled_loader_goes_on(shards: ShardSet) -> None:
    loader = TokenLoader(shards, batch_size=10)
    next(iter(loader))
    assert plain(pickle.loads(pickle.dumps(loader))) == slow_batches(shards, 10)[1:]


@pytest.mark.parametrize("lengths", [[5, 0, 7], [5, 8, 1], [5, -2, 9], [1 << 30, 1 << 30, 1 << 30]])
def test_lengths_that_do_not_fit_are_an_error(lengths: list[int]) -> None:
    documents = DocumentLengths(np.array([0, 3]), np.array(lengths, np.int32))
    with pytest.raises(ValueError):
        expand(np.zeros((1, LENGTH), np.uint16), documents, np.empty((4, 1, LENGTH), np.int64))
    documents = DocumentLengths(np.array([0, 1, 1]), np.array([3], np.int32))
    with pytest.raises(ValueError, match="no document"):
        expand(np.zeros((2, LENGTH), np.uint16), documents, np.empty((4, 2, LENGTH), np.int64))


def test_damaged_lengths_never_make_a_batch(tmp_path: Path) -> None:
    shards = write(tmp_path, 20, shard_rows=20)
    path = tmp_path / shards.index.shard_file(0)
    start = shards.index.layout.lengths_offset(20)
    data = bytearray(path.read_bytes())
    data[start + 1] = 1
    path.write_bytes(data)
    loader = TokenLoader(tmp_path, batch_size=2)
    with pytest.raises(ShardCorruptError, match="rows 0 to 2"):
        next(iter(loader))
    assert loader.position == 0


def test_import_stays_light() -> None:
    code = "import sys, json, llm_assets.loader; print(json.dumps(sorted(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    modules = json.loads(result.stdout)
    heavy = {"dagster", "polars", "deltalake", "ray", "numba", "pydantic", "awkward", "pandas"}
    assert heavy.isdisjoint(modules)
    ours = {name for name in modules if name.startswith("llm_assets.") and not name.startswith("llm_assets.loader")}
    shard_modules = {"shards", "shard_files", "shard_index"}
    assert ours == {"llm_assets.store", "llm_assets.store.folder"} | {
        f"llm_assets.store.{name}" for name in shard_modules
    }
