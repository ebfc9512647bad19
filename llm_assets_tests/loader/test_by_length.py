from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.loader import Ranks
from llm_assets.loader.by_length import LengthBatches, collate


@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=200),
    multiple=st.sampled_from([1, 8]),
    rows_multiple=st.sampled_from([1, 2, 6]),
    window=st.integers(6, 80),
    epoch=st.integers(0, 2),
    seed=st.integers(0, 2**40),
)
def test_every_example_is_in_one_batch_that_is_small_enough(
    lengths: list[int], multiple: int, rows_multiple: int, window: int, epoch: int, seed: int
) -> None:
    most = 56 * 8
    plan = LengthBatches(np.array(lengths), most, multiple, rows_multiple, window, seed)
    batches = [batch.tolist() for batch in plan.batches(epoch)]
    given_out = [example for batch in batches for example in batch]
    assert len({*given_out}) == len(given_out) > len(lengths) - rows_multiple
    for batch in batches:
        sizes = [lengths[example] for example in batch]
        assert sizes == sorted(sizes, reverse=True)
        assert len(batch) % rows_multiple == 0
        assert -(-sizes[0] // multiple) * multiple * len(batch) <= most
    assert batches == [batch.tolist() for batch in plan.batches(epoch)]
    for world_size in (1, 2, 3):
        if rows_multiple % world_size == 0:
            shares = [list(plan.shares(Ranks(rank, world_size), epoch)) for rank in range(world_size)]
            for batch, parts in zip(batches, zip(*shares, strict=True), strict=True):
                assert sorted(batch) == sorted(np.concatenate(parts).tolist())
                assert {len(part) for part in parts} == {len(batch) // world_size}


def test_little_is_padding_and_batches_come_mixed() -> None:
    lengths = np.random.default_rng(0).integers(1, 1000, 20_000)
    plan = LengthBatches(lengths, 16_384, seed=1)
    batches = list(plan.batches())
    padded = sum(-(-int(lengths[batch].max()) // 8) * 8 * len(batch) for batch in batches)
    assert lengths.sum() / padded > 0.97
    longest = np.array([lengths[batch[0]] for batch in batches[:50]])
    assert longest[:25].std() > 150  # not sorted: long and short ones follow each other
    assert [batch.tolist() for batch in plan.batches(1)] != [batch.tolist() for batch in batches]


def test_collate_pads_to_a_multiple() -> None:
    batch = collate([np.array([5, 6, 7], np.uint16), np.array([8], np.uint16)], pad_id=0, pad_to_multiple=4)
    assert {name: tensor.tolist() for name, tensor in batch.items()} == {
        "input_ids": [[5, 6, 7, 0], [8, 0, 0, 0]],
        "labels": [[-100, 6, 7, -100], [-100, -100, -100, -100]],
        "attention_mask": [[1, 1, 1, 0], [1, 0, 0, 0]],
    }
    batch = collate([np.array([5, 6])], [np.array([-100, 6])], pad_id=9, pad_to_multiple=1)
    assert batch["labels"].tolist() == [[-100, 6]]
    with pytest.raises(ValueError, match="as long as their examples"):
        collate([np.array([5, 6])], [np.array([6])], pad_id=0)
    with pytest.raises(ValueError, match="give at least one example"):
        collate([], pad_id=0)
    with pytest.raises(ValueError, match="pad_to_multiple=0"):
        collate([np.array([5])], pad_id=0, pad_to_multiple=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lengths": np.array([], np.int64)}, "one for each example"),
        ({"lengths": np.array([3, 0])}, "int64, the least 0: give integers"),
        ({"lengths": np.array([3.0, 1.5])}, "give integers of 1 or more"),
        ({"lengths": np.ones((2, 2), np.int64)}, r"shape \(2, 2\)"),
        ({"most_tokens": 100, "rows_multiple": 8}, "8 examples of 16 tokens exceed most_tokens=100"),
        ({"window": 1, "rows_multiple": 2}, "window"),
        ({"pad_to_multiple": 0}, "at least 1"),
    ],
)
def test_senseless_parameters_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LengthBatches(**({"lengths": np.array([3, 10]), "most_tokens": 200} | change))


def test_each_epoch_makes_other_batches() -> None:
    lengths = np.random.default_rng(5).permutation(960) + 1
    plan = LengthBatches(lengths, 4096, window=240, seed=2)
    first, second, third = ({frozenset(batch.tolist()) for batch in plan.batches(epoch)} for epoch in range(3))
    for one, other in ((first, second), (second, third), (first, third)):
        assert len(one & other) < len(one) / 4


def test_each_epoch_and_each_window_gives_its_batches_out_in_an_order_of_its_own() -> None:
    lengths = np.tile(np.arange(1, 241), 2)  # two windows alike, of examples that are sorted in one way alone
    plan = LengthBatches(lengths, 1024, window=240, seed=2)
    batches = [(batch % 240).tolist() for batch in plan.batches()]
    half = len(batches) // 2
    assert batches[:half] != batches[half:] and sorted(batches[:half]) == sorted(batches[half:])
    plan = LengthBatches(lengths[:240], 1024, window=240, seed=2)
    epochs = [[batch.tolist() for batch in plan.batches(epoch)] for epoch in range(3)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(epochs[2])
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_ranks_have_about_the_same_work() -> None:
    lengths = np.random.default_rng(1).integers(1, 500, 3000)
    plan = LengthBatches(lengths, 16_384, rows_multiple=12)
    for batch, *shares in zip(plan.batches(), *(plan.shares(Ranks(rank, 4)) for rank in range(4)), strict=True):
        assert len(batch) % 12 == 0
        work = [int(lengths[share].sum()) for share in shares]
        assert max(work) - min(work) <= lengths[batch[0]] - lengths[batch[-1]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint64, list])
def test_lengths_of_any_integer_type_give_the_same_batches(dtype: Any) -> None:
    lengths = np.random.default_rng(3).integers(1, 200, 500)
    other = lengths.tolist() if dtype is list else lengths.astype(dtype)
    expected = LengthBatches(lengths, 1600, rows_multiple=2).batches(1)
    assert [b.tolist() for b in LengthBatches(other, 1600, rows_multiple=2).batches(1)] == [
        b.tolist() for b in expected
    ]


def test_an_epoch_below_the_first_is_refused() -> None:
    with pytest.raises(ValueError, match="epoch -1"):
        LengthBatches(np.array([3, 10]), 200).batches(-1)


def test_ranks_must_divide_the_batches() -> None:
    with pytest.raises(ValueError, match="4 ranks do not share"):
        LengthBatches(np.array([3, 10]), 200, rows_multiple=2).shares(Ranks(0, 4))
