"""Transforms that a loader applies: the batches are those of the transforms called by hand, on every way to them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import pytest
import torch
from torch.utils.data import DataLoader

from llm_assets.loader import Batch, LoaderStateError, TokenLoader
from llm_assets.loader.fields import FIELDS, Field
from llm_assets.loader.transforms import RandomMask, RandomReplace, Transform
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets_tests.loader.own_transforms import (
    HERE,
    GivesNothing,
    NoDataclass,
    NotForStates,
    Raised,
    Unversioned,
)
from llm_assets_tests.loader.sets import VOCABULARY

NEEDED: tuple[Field, ...] = (*FIELDS, "row_ids")
TRANSFORMS: Sequence[Transform] = (RandomReplace(VOCABULARY, 0.3, never=[5]), Raised(2))


def loader(shards: ShardSet, transforms: Sequence[Transform] = TRANSFORMS, **options: int | str | None) -> TokenLoader:
    return TokenLoader(shards, batch_size=8, fields=NEEDED, transforms=transforms, **options)  # type: ignore[arg-type]


def equal(one: Batch, other: Batch) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("options", [{}, {"prefetch": 3}, {"device": "cpu"}, {"micro_batch_size": 2}])
def test_batches_are_those_of_the_transforms_called_by_hand(shards: ShardSet, options: dict[str, int | str]) -> None:
    made = list(loader(shards, **options))
    plain = list(loader(shards, (), **options))
    assert len(made) == len(plain) > 3
    for batch, before in zip(made, plain, strict=True):
        assert equal(batch, TRANSFORMS[1](TRANSFORMS[0](before)))
        assert not torch.equal(batch["input_ids"], before["input_ids"])


def test_a_worker_process_applies_them_too(shards: ShardSet) -> None:
    in_worker = list(DataLoader(loader(shards), batch_size=None, num_workers=1))
    assert all(map(equal, in_worker, loader(shards))) and in_worker


def test_a_resumed_loader_goes_on_with_the_same_batches(shards: ShardSet) -> None:
    whole = list(loader(shards))
    first = loader(shards)
    batches = iter(first)
    for _ in range(3):
        last = next(batches)
    state = json.loads(json.dumps(first.state_dict()))
    assert state == json.loads(json.dumps(first.state_after(last)))
    resumed = loader(shards)
    resumed.load_state_dict(state)
    assert all(map(equal, resumed, whole[3:]))


@pytest.mark.parametrize(
    "others", [(), TRANSFORMS[:1], TRANSFORMS[::-1], (TRANSFORMS[0], Raised(3))], ids=["none", "one", "order", "other"]
)
def test_a_state_is_of_its_transforms(shards: ShardSet, others: Sequence[Transform]) -> None:
    saved, other = loader(shards), loader(shards, others)
    with pytest.raises(LoaderStateError, match="the batches would be others"):
        other.load_state_dict(saved.state_dict())
    with pytest.raises(LoaderStateError, match="the batches would be others"):
        saved.load_state_dict(other.state_dict())
    other.load_state_dict(saved.state_dict() | {"transforms": other.state_dict().get("transforms", [])})


def test_a_state_is_of_the_version_of_a_transform(shards: ShardSet, monkeypatch: pytest.MonkeyPatch) -> None:
    state = loader(shards).state_dict()
    monkeypatch.setattr(Raised, "version", "3")
    with pytest.raises(LoaderStateError, match=r"'version': '2'.*'version': '3'"):
        loader(shards).load_state_dict(state)


def test_without_transforms_a_state_is_what_it_was(shards: ShardSet) -> None:
    assert "transforms" not in loader(shards, ()).state_dict()


def test_an_error_says_whose_it_is_and_where_and_loses_no_row(shards: ShardSet) -> None:
    failing = loader(shards, [Raised(1, refused=17)])
    with pytest.raises(ZeroDivisionError) as raised:
        list(failing)
    assert failing.position == 16
    assert raised.value.__notes__ == [f"raised by {HERE}:Raised, version 2, at row 16 of the stream"]
    with pytest.raises(TypeError, match="gave a NoneType") as raised_type:
        next(iter(loader(shards, [GivesNothing()])))
    assert "GivesNothing" in raised_type.value.__notes__[0]


@pytest.mark.parametrize(
    ("transform", "why"),
    [
        (NoDataclass(), "make it a dataclass"),
        (Unversioned(), 'has no version: give it `version = "1"`'),
        (NotForStates(), "its fields must be JSON values"),
        (len, "make it a dataclass (frozen) and a subclass of Transform"),
    ],
)
def test_what_is_no_transform_is_refused(shards: ShardSet, transform: Transform, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        loader(shards, [transform])


def test_the_validator_compares_what_the_transforms_were_given(shards: ShardSet) -> None:
    hidden = TokenLoader(
        shards, batch_size=8, fields=NEEDED, validate=True, transforms=[RandomMask(4, VOCABULARY, 0.9)]
    )
    assert len(list(hidden)) == len(hidden)
