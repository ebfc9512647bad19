import json
import os
import pickle
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_assets.loader import TokenLoader
from llm_assets.loader.fields import ALL_FIELDS, FIELDS
from llm_assets.store.shards.shard_set import ShardCorruptError, ShardSet, ShardSetMissingError
from llm_assets_tests.loader.sets import (
    LENGTH,
    even_batches,
    joined,
    plain,
    slow_batches,
    slow_boundaries,
    slow_rows,
    write,
)
from llm_assets_tests.store.shards.examples import seal_again

SHARED_FOLDER = [HealthCheck.function_scoped_fixture]


@settings(max_examples=40, suppress_health_check=SHARED_FOLDER)
@given(
    rows=st.integers(1, 60),
    seed=st.integers(0, 2**32),
    shard_rows=st.integers(1, 60),
    length=st.sampled_from([1, 2, 3, 4, 6, 12]),
    epochs=st.integers(1, 3),
    shift=st.booleans(),
    device=st.sampled_from([None, "cpu"]),
    data=st.data(),
)
def test_batches_equal_rows_expanded_token_by_token(
    tmp_path: Path,
    rows: int,
    seed: int,
    shard_rows: int,
    length: int,
    epochs: int,
    shift: bool,
    device: str | None,
    data: st.DataObject,
) -> None:
    shards = write(tmp_path / uuid.uuid4().hex, rows, seed, shard_rows)
    expected = slow_rows(shards, length, shift=shift) * epochs
    for number, row in enumerate(expected):
        expected[number] = row | {"row_ids": number}
    size = data.draw(st.integers(1, len(expected)))
    wanted = data.draw(st.permutations(ALL_FIELDS).map(lambda order: order[: 1 + seed % len(order)]))
    loader = TokenLoader(
        shards,
        batch_size=size,
        sequence_length=length,
        epochs=epochs,
        shift_labels=shift,
        device=device,
        fields=wanted,
        validate=True,
    )
    batches = slow_batches(expected, [size] * (len(expected) // size))
    for batch in batches:
        batch["cu_seqlens"] = slow_boundaries(batch["position_ids"])
        batch["max_seqlen"] = int(np.diff(batch["cu_seqlens"]).max())
    assert plain(loader) == [{name: batch[name] for name in wanted} for batch in batches]
    assert len(loader) == len(batches)


def test_shifted_labels_are_the_next_tokens_of_the_unshifted(shards: ShardSet) -> None:
    here, ahead = (TokenLoader(shards, batch_size=101, shift_labels=shift) for shift in (False, True))
    [unshifted], [shifted] = list(here), list(ahead)
    assert shifted["labels"][:, :-1].tolist() == unshifted["labels"][:, 1:].tolist()
    assert (shifted["labels"][:, -1] == -100).all()


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize(
    ("vocabulary", "stored"), [(1000, torch.uint16), (1 << 16, torch.uint16), (1 << 17, torch.uint32)]
)
def test_types(tmp_path: Path, device: str | None, vocabulary: int, stored: torch.dtype) -> None:
    shards = write(tmp_path, 20, vocabulary=vocabulary)

    def types(dtype: Any) -> dict[str, torch.dtype]:
        loader = TokenLoader(shards, batch_size=4, fields=ALL_FIELDS, dtype=dtype, device=device)
        return {name: tensor.dtype for name, tensor in next(iter(loader)).items()}

    always = {"cu_seqlens": torch.int32, "max_seqlen": torch.int32, "row_ids": torch.int64}
    assert types("int64") == dict.fromkeys(FIELDS, torch.int64) | always
    assert types("int32") == dict.fromkeys(FIELDS, torch.int32) | always
    assert types("narrow") == dict.fromkeys(FIELDS, torch.int32) | always | {"input_ids": stored}
    whole = plain(TokenLoader(shards, batch_size=4, device=device))
    for dtype in ("int32", "narrow"):
        assert plain(TokenLoader(shards, batch_size=4, device=device, dtype=dtype)) == whole


@pytest.mark.parametrize("device", [None, "cpu"])
def test_tensors_are_the_consumers_own(shards: ShardSet, device: str | None) -> None:
    loader = TokenLoader(shards, batch_size=4, device=device)
    batches = list(loader)
    for batch in batches:
        for tensor in batch.values():
            tensor.fill_(-7)
    assert plain(TokenLoader(shards, batch_size=4, device=device)) == even_batches(shards, 4)


@pytest.mark.parametrize("prefetch", [0, 3])
def test_memory_is_used_again_only_when_nothing_holds_it(shards: ShardSet, prefetch: int) -> None:
    loader = TokenLoader(shards, batch_size=2, prefetch=prefetch)
    expected = even_batches(shards, 2)
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
    whole = [joined(parts) for parts in zip(*loaders, strict=True)]
    assert plain(whole) == even_batches(shards, 12)
    assert {len(loader) for loader in loaders} == {8}
    assert {loader.unused_rows for loader in loaders} == {101 - 8 * 12}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch of 0"),
        ({"batch_size": []}, "must start at 0"),
        ({"batch_size": [(1, 10)]}, "must start at 0"),
        ({"batch_size": [(0, 10), (0, 20)]}, "must start at 0 and increase"),
        ({"batch_size": [(0, 10), (20, 9)], "world_size": 2}, "batch of 9 rows cannot be divided among 2"),
        ({"batch_size": 9, "world_size": 2}, "batch of 9 rows cannot be divided among 2"),
        ({"micro_batch_size": 3}, "batch of 10 rows cannot be divided among 1 ranks in micro-batches of 3"),
        ({"micro_batch_size": 0}, "micro-batch of 0"),
        ({"rank": 2, "world_size": 2}, "rank 2"),
        ({"rank": -1}, "rank -1"),
        ({"world_size": 0}, "world of 0"),
        ({"batch_size": 102}, "102 rows, but the stream has only 101"),
        ({"sequence_length": 5}, "sequence_length 5 does not divide the rows of 12"),
        ({"sequence_length": 0}, "sequence_length=0"),
        ({"sequence_length": 6.0}, r"sequence_length=6\.0: give an integer"),
        ({"epochs": 0}, "epochs=0: give an integer of 1 or more"),
        ({"epochs": "3"}, "epochs='3'"),
        ({"block": 0}, "blocks of 0"),
        ({"fields": []}, "each once"),
        ({"fields": ["labels", "labels"]}, "each once"),
        ({"fields": ["targets"]}, "each once"),
        ({"dtype": "int8"}, "int8"),
        ({"prefetch": -1}, "prefetch=-1"),
        ({"prefetch": 1.5}, r"prefetch=1\.5"),
        ({"device": "mps"}, "give cpu or cuda"),
        ({"data_parallel": "dp"}, "pass the mesh too"),
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


def test_a_pickled_loader_goes_on(shards: ShardSet) -> None:
    loader = TokenLoader(shards, batch_size=10)
    next(iter(loader))
    assert plain(pickle.loads(pickle.dumps(loader))) == even_batches(shards, 10)[1:]


@pytest.mark.parametrize("options", [{}, {"prefetch": 2}, {"device": "cpu"}, {"rank": 1, "world_size": 2}, {"seed": 1}])
def test_damaged_ids_never_make_a_batch(tmp_path: Path, options: dict[str, Any]) -> None:
    """Nor any batch after it, and those before it are right."""
    shards = write(tmp_path, 20, shard_rows=5)
    expected = shards.input_ids(0, 20).copy()
    path = tmp_path / shards.index.shard_file(2)
    data = bytearray(path.read_bytes())
    data[shards.index.layout.input_ids_offset + 7] ^= 1
    path.write_bytes(data)
    batches = iter(TokenLoader(tmp_path, batch_size=2, fields=["input_ids", "row_ids"], epochs=2, **options))
    got: list[dict[str, torch.Tensor]] = []
    with pytest.raises(ShardCorruptError, match=r"shard-00002.arrow: block 0 \(from byte 0\) does not match"):
        got.extend(batches)
    for batch in got:
        assert batch["input_ids"].tolist() == expected[batch["row_ids"].numpy()].tolist()
    assert got and max(batch["row_ids"].max() for batch in got) < 10


@pytest.mark.parametrize("prefetch", [0, 2])
def test_damaged_lengths_never_make_a_batch(tmp_path: Path, prefetch: int) -> None:
    shards = write(tmp_path, 20, shard_rows=20)
    path = tmp_path / shards.index.shard_file(0)
    start = shards.index.layout.lengths_offset(20)
    data = bytearray(path.read_bytes())
    data[start + 1] = 1
    path.write_bytes(data)
    with pytest.raises(ShardCorruptError, match=r"shard-00000.arrow: block 0 \(from byte 0\) does not match"):
        next(iter(TokenLoader(tmp_path, batch_size=2, prefetch=prefetch)))
    seal_again(shards)  # as if they had been written so
    loader = TokenLoader(tmp_path, batch_size=2, prefetch=prefetch)
    with pytest.raises(ShardCorruptError, match=r"shard-00000.arrow: row 0 of the set has documents of 2\d\d tokens"):
        next(iter(loader))
    assert loader.position == 0
    assert len(list(TokenLoader(tmp_path, batch_size=2, fields=["input_ids"]))) == 10  # which needs no lengths


def test_stats_count_what_this_rank_got(shards: ShardSet) -> None:
    loader = TokenLoader(shards, batch_size=10, rank=1, world_size=2)
    stats = loader.stats()
    assert (stats.batches, stats.tokens_per_second, stats.waiting) == (0, 0.0, 0.0)
    for _ in loader:
        pass
    stats = loader.stats()
    assert (stats.batches, stats.rows, stats.tokens) == (10, 50, 50 * LENGTH)
    assert 0 < stats.waited <= stats.elapsed
    assert stats.tokens_per_second == stats.tokens / stats.elapsed
    assert str(stats).startswith(f"50 rows ({50 * LENGTH} tokens) in 10 batches, ")


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
    heavy = {"dagster", "polars", "deltalake", "ray", "numba", "pydantic", "awkward", "pandas", "torchdata"}
    assert heavy.isdisjoint(modules)
    ours = {name for name in modules if name.startswith("llm_assets.") and not name.startswith("llm_assets.loader")}
    shard_modules = {"shard_set", "files", "index", "checks", "table"}
    store_modules = {"folder", "recent_blocks", "shards"} | {f"shards.{name}" for name in shard_modules}
    own = {"llm_assets.errors", "llm_assets.kernels", "llm_assets.kernels.feistel", "llm_assets.store"}
    assert ours == own | {f"llm_assets.store.{name}" for name in store_modules}
