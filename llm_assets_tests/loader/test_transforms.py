from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from llm_assets.loader import Batch, Dtype, TokenLoader
from llm_assets.loader.chance import below, draw, happens, key
from llm_assets.loader.fields import FIELDS, Field
from llm_assets.loader.transforms import RandomMask, RandomReplace, RandomRotation
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets_tests.loader.sets import LENGTH, VOCABULARY, joined, write

NEEDED: tuple[Field, ...] = (*FIELDS, "row_ids")
MASK = VOCABULARY - 1
TRANSFORMS: list[Callable[[Batch], Batch]] = [
    RandomMask(MASK, VOCABULARY, 0.5, seed=3),
    RandomReplace(VOCABULARY, 0.5, seed=3),
    RandomRotation(0.7, seed=3),
]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    shards = write(tmp_path_factory.mktemp("large"), 4000, shard_rows=4000)
    [batch] = TokenLoader(shards, batch_size=4000, fields=NEEDED)
    return batch


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_rows_change_in_the_same_way_in_any_world_batch_and_micro_batch(
    shards: ShardSet, transform: Callable[[Batch], Batch]
) -> None:
    [whole] = TokenLoader(shards, batch_size=96, fields=NEEDED)
    before = {name: tensor.clone() for name, tensor in whole.items()}
    expected = transform(whole)
    assert all(torch.equal(whole[name], before[name]) for name in whole)
    assert not torch.equal(expected["input_ids"], whole["input_ids"])
    for world_size in (2, 3):
        ranks = [
            TokenLoader(
                shards, batch_size=24, micro_batch_size=4, rank=rank, world_size=world_size, fields=NEEDED, device="cpu"
            )
            for rank in range(world_size)
        ]
        parts = [transform(part) for parts in zip(*ranks, strict=True) for part in parts]
        again = joined(parts)
        assert all(torch.equal(again[name], expected[name]) for name in expected)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("vocabulary", [VOCABULARY, 1 << 17])
@pytest.mark.parametrize("dtype", ["int32", "narrow"])
def test_narrow_ids_change_as_wide_ones_and_stay_narrow(
    tmp_path: Path, transform: Callable[[Batch], Batch], vocabulary: int, dtype: Dtype
) -> None:
    shards = write(tmp_path, 40, vocabulary=vocabulary)
    transform = replace(transform, never=[5]) if hasattr(transform, "never") else transform
    [wide], [other] = (TokenLoader(shards, batch_size=40, fields=NEEDED, dtype=kind) for kind in ("int64", dtype))
    expected, changed = transform(wide), transform(other)
    assert changed["input_ids"].dtype == other["input_ids"].dtype and changed["labels"].dtype == torch.int32
    assert all(changed[name].tolist() == expected[name].tolist() for name in expected)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("without", ["row_ids", "document_ids", "input_ids"])
def test_a_field_that_is_missing_is_named(shards: ShardSet, transform: Callable[[Batch], Batch], without: str) -> None:
    [batch] = TokenLoader(shards, batch_size=101, fields=NEEDED)
    del batch[without]
    with pytest.raises(ValueError, match=f"without {without}"):
        transform(batch)


def test_another_epoch_and_another_seed_change_other_tokens(shards: ShardSet) -> None:
    first, second = TokenLoader(shards, batch_size=101, epochs=2, fields=NEEDED)
    mask, other = RandomMask(MASK, VOCABULARY), RandomMask(MASK, VOCABULARY, seed=1)
    assert torch.equal(first["input_ids"], second["input_ids"])
    assert not torch.equal(mask(first)["labels"], mask(second)["labels"])
    assert not torch.equal(mask(first)["labels"], other(first)["labels"])


def near(count: int, trials: int, probability: float) -> bool:
    """Within five standard deviations of a binomial distribution."""
    return abs(count - trials * probability) <= 5 * (trials * probability * (1 - probability)) ** 0.5


def test_masking_chooses_as_often_as_it_should(large: Batch) -> None:
    tokens = large["document_ids"] >= 0
    never = int(large["input_ids"][0, 0])
    result = RandomMask(MASK, VOCABULARY, 0.15, never=[never, MASK])(large)
    chosen = result["labels"] != -100
    allowed = tokens & (large["input_ids"] != never) & (large["input_ids"] != MASK)
    assert not (chosen & ~allowed).any()
    assert near(int(chosen.sum()), int(allowed.sum()), 0.15)
    assert torch.equal(result["labels"][chosen], large["input_ids"][chosen])
    assert torch.equal(result["input_ids"][~chosen], large["input_ids"][~chosen])
    ids, count = result["input_ids"][chosen], int(chosen.sum())
    stayed = ids == large["input_ids"][chosen]
    assert near(int((ids == MASK).sum()), count, 0.8 + 0.1 / VOCABULARY)
    assert near(int(stayed.sum()), count, 0.1 + 0.1 / VOCABULARY)
    assert {*result} == {*large} and result["position_ids"] is large["position_ids"]


def test_replacing_changes_inputs_alone(large: Batch) -> None:
    result = RandomReplace(VOCABULARY, 0.3)(large)
    changed = result["input_ids"] != large["input_ids"]
    tokens = large["document_ids"] >= 0
    assert not (changed & ~tokens).any()
    assert near(int(changed.sum()), int(tokens.sum()), 0.3 * (1 - 1 / VOCABULARY))
    assert result["labels"] is large["labels"]
    new = result["input_ids"][changed]
    assert int(new.min()) >= 0 and VOCABULARY - 10 < int(new.max()) < VOCABULARY


@pytest.mark.parametrize(
    "transform", [RandomMask(MASK, VOCABULARY, 0.9, masked=0.3, replaced=0.6), RandomReplace(VOCABULARY, 0.6)]
)
def test_what_comes_instead_may_be_any_token(large: Batch, transform: Callable[[Batch], Batch]) -> None:
    result = transform(large)["input_ids"]
    new = result[(result != large["input_ids"]) & (result != MASK)]
    for tenth in torch.bincount(new * 10 // VOCABULARY, minlength=10).tolist():
        assert near(tenth, len(new), 0.1)


def test_rotation_begins_at_the_token_that_the_numbers_of_the_document_say() -> None:
    lengths, row = [5, 7, 1, 3], 12
    positions = [place for length in lengths for place in range(length)]
    documents = [number for number, length in enumerate(lengths) for _ in range(length)]
    ids = torch.arange(100, 100 + len(positions))
    batch = {
        "input_ids": ids[None],
        "position_ids": torch.tensor([positions]),
        "document_ids": torch.tensor([documents]),
        "row_ids": torch.tensor([row]),
    }
    expected: list[int] = []
    for start, length in zip((0, 5, 12, 13), lengths, strict=True):
        number = int(draw(key(9, "by"), torch.tensor(row), torch.tensor(start)))
        document = ids[start : start + length].tolist()
        begin = number * length >> 32
        expected += document[begin:] + document[:begin]
    assert RandomRotation(1.0, seed=9)(batch)["input_ids"].tolist() == [expected] != [ids.tolist()]


@pytest.mark.parametrize("probability", [0.0, 0.4, 1.0])
def test_rotation_turns_whole_documents(large: Batch, probability: float) -> None:
    result = RandomRotation(probability)(large)
    turned = documents = 0
    begins: list[int] = []
    for row in range(len(large["input_ids"])):
        for number in range(int(large["document_ids"][row].max()) + 1):
            here = large["document_ids"][row] == number
            before, after = large["input_ids"][row][here].tolist(), result["input_ids"][row][here].tolist()
            rotations = [before[place:] + before[:place] for place in range(len(before))]
            assert after in rotations
            if len(before) == LENGTH and len({*before}) == LENGTH:
                documents += 1
                turned += after != before
                begins.append(rotations.index(after))
        padding = large["document_ids"][row] < 0
        assert torch.equal(result["input_ids"][row][padding], large["input_ids"][row][padding])
    assert documents > 100
    assert near(turned, documents, probability * (1 - 1 / LENGTH))
    assert len({*begins}) == (1 if probability == 0 else LENGTH)


def test_numbers_are_even_and_belong_to_their_place() -> None:
    rows, places = torch.arange(500)[:, None] + (1 << 40), torch.arange(400)
    numbers = draw(key(1, "a"), rows, places)
    assert int(numbers.min()) >= 0 and int(numbers.max()) < 1 << 32
    for shift in range(0, 32, 8):
        counts = torch.bincount((numbers >> shift & 255).view(-1), minlength=256).double()
        statistic = float(((counts - 781.25) ** 2 / 781.25).sum())  # 255 degrees of freedom: 255, deviation 22.6
        assert 255 - 5 * 22.6 < statistic < 255 + 5 * 22.6
    centred = numbers.double() / 2**31 - 1
    for dim in (0, 1):  # neighbours know nothing of each other: a correlation deviates by 1 / √200,000 from 0
        assert abs(float((centred * centred.roll(1, dim)).mean()) * 3) < 5 / 447
    assert not torch.equal(numbers, draw(key(2, "a"), rows, places))
    assert not torch.equal(numbers, draw(key(1, "b"), rows, places))
    assert int(below(numbers, (1 << 31) - 1).max()) < (1 << 31) - 1
    assert not happens(numbers, 0.0).any() and happens(numbers, 1.0).all()


def test_the_numbers_are_those_of_splitmix64(tmp_path: Path) -> None:
    def mixed(word: int) -> int:
        word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
        return word ^ word >> 31

    chosen = key(5, "x")
    for row, place in [(0, 0), (3, 9), (2**61, 4095)]:
        word = mixed((mixed((row + chosen) % 2**64) + place * 0x9E3779B97F4A7C15) % 2**64)
        assert draw(chosen, torch.tensor(row), torch.tensor(place)).item() == word >> 3 & 0xFFFFFFFF


@pytest.mark.parametrize("probability", [-0.1, 1.1])
def test_probabilities_are_checked(probability: float) -> None:
    for make in (
        lambda: RandomMask(0, 10, probability),
        lambda: RandomReplace(10, probability),
        lambda: RandomRotation(probability),
        lambda: RandomMask(0, 10, 0.1, masked=0.6, replaced=0.5),
    ):
        with pytest.raises(ValueError, match="a probability of"):
            make()
