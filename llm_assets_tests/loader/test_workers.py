import json
import pickle
from itertools import islice
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from llm_assets.loader import TokenLoader, WorkerProcessError, workers
from llm_assets.loader.fields import FIELDS, Field
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets_tests.loader.sets import even_batches, plain

stateful = pytest.importorskip("torchdata.stateful_dataloader")


@pytest.mark.parametrize("prefetch", [0, 3])
def test_data_loader_in_this_process(shards: ShardSet, prefetch: int) -> None:
    loader = TokenLoader(shards, batch_size=10, prefetch=prefetch)
    batches = DataLoader(loader, batch_size=None)
    assert len(batches) == 10
    for number, batch in enumerate(batches):
        assert plain([batch]) == even_batches(shards, 10)[number : number + 1]
        assert loader.position == 10 * (number + 1)


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_data_loader_with_a_worker_knows_its_state_from_the_batches(shards: ShardSet, context: str) -> None:
    fields: tuple[Field, ...] = (*FIELDS, "row_ids")
    loader = TokenLoader(shards, batch_size=10, rank=1, world_size=2, fields=fields)
    expected = plain(loader)
    loader = TokenLoader(shards, batch_size=10, rank=1, world_size=2, fields=fields)
    iterator = iter(DataLoader(loader, batch_size=None, num_workers=1, multiprocessing_context=context))
    batches = [next(iterator) for _ in range(3)]
    with pytest.raises(WorkerProcessError, match="StatefulDataLoader"):
        loader.state_dict()
    state = loader.state_after(batches[-1])
    with pytest.raises(KeyError, match="ask the loader for that field"):
        loader.state_after({"input_ids": batches[-1]["input_ids"]})
    assert state["position"] == 30
    assert plain([*batches, *iterator]) == expected
    loader.load_state_dict(json.loads(json.dumps(state)))
    assert loader.state_dict() == state
    assert plain(loader) == expected[3:]


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
@pytest.mark.parametrize("taken", [3, 10])
def test_a_second_worker_never_begins_again_with_rows_that_were_delivered(
    shards: ShardSet, context: str, taken: int
) -> None:
    loader = TokenLoader(shards, batch_size=10, fields=(*FIELDS, "row_ids"))
    expected = plain(loader)
    loader = TokenLoader(shards, batch_size=10, fields=(*FIELDS, "row_ids"))
    around = DataLoader(loader, batch_size=None, num_workers=1, multiprocessing_context=context)
    batches = list(islice(around, taken))
    with pytest.raises(WorkerProcessError, match="has delivered rows of this loader"):
        next(iter(around))
    loader.load_state_dict(loader.state_after(batches[-1]))
    assert plain([*batches, *around]) == expected


def test_a_stateful_data_loader_begins_again_only_where_it_is_told(shards: ShardSet) -> None:
    around = stateful.StatefulDataLoader(
        TokenLoader(shards, batch_size=10), batch_size=None, num_workers=1, multiprocessing_context="fork"
    )
    batches, state = plain(islice(around, 3)), around.state_dict()
    with pytest.raises(WorkerProcessError, match="has delivered rows of this loader"):
        next(iter(around))
    around.load_state_dict(state)
    assert batches + plain(around) == even_batches(shards, 10)


def test_a_worker_that_was_told_begins_once(monkeypatch: pytest.MonkeyPatch) -> None:
    flag = workers.WorkerFlag()
    monkeypatch.setattr(workers, "worker_count", lambda: 1)
    for _ in range(2):
        flag.enter(None)
        with pytest.raises(WorkerProcessError, match="has delivered rows of this loader"):
            flag.enter(None)
        flag.clear()


def test_a_copy_of_a_loader_that_a_worker_delivers_does_not_know_more(shards: ShardSet) -> None:
    loader = TokenLoader(shards, batch_size=10)
    next(iter(DataLoader(loader, batch_size=None, num_workers=1, multiprocessing_context="fork")))
    with pytest.raises(WorkerProcessError, match="does not know its position"):
        pickle.loads(pickle.dumps(loader)).state_dict()


def test_several_workers_are_refused(shards: ShardSet) -> None:
    loader = TokenLoader(shards, batch_size=10)
    with pytest.raises(WorkerProcessError, match="2 worker processes"):
        next(iter(DataLoader(loader, batch_size=None, num_workers=2, multiprocessing_context="fork")))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("prefetch", [0, 2])
def test_stateful_data_loader_resumes_with_what_was_not_delivered(
    shards: ShardSet, workers: int, prefetch: int
) -> None:
    def make() -> Any:
        dataset = TokenLoader(shards, batch_size=10, prefetch=prefetch)
        context = "fork" if workers else None
        return stateful.StatefulDataLoader(
            dataset, batch_size=None, num_workers=workers, multiprocessing_context=context
        )

    expected = even_batches(shards, 10)
    delivered: list[Any] = []
    state = None
    for batches in (0, 3, 1, 4):
        loader = make()
        if state is not None:
            loader.load_state_dict(state)
        iterator = iter(loader)
        delivered += plain(next(iterator) for _ in range(batches))
        state = loader.state_dict()
        del iterator, loader
    loader = make()
    loader.load_state_dict(state)
    assert delivered + plain(loader) == expected


def test_a_device_is_refused_in_a_worker(shards: ShardSet) -> None:
    loader = TokenLoader(shards, batch_size=10, device=torch.device("cuda"))
    with pytest.raises(WorkerProcessError, match="cuda"):
        next(iter(DataLoader(loader, batch_size=None, num_workers=1, multiprocessing_context="fork")))
