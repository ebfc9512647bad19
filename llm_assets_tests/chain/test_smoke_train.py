"""Smoke training: which rows it takes, that it learns and repeats itself, and that its numbers are what they say."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from llm_assets.chain import smoke_train as smoke_train_module
from llm_assets.chain import tiny_model
from llm_assets.chain.link import MissingInputError, State
from llm_assets.chain.mixed import MixedLink
from llm_assets.chain.shard_partition import open_shards, read_provenance
from llm_assets.chain.smoke_train import SmokeTrainError, SmokeTrainLink, SmokeTrainParameters, loss_falls, rows_used
from llm_assets.stages.token_bytes import UnknownBytesError
from llm_assets.store.reports import StagedReport, StoredReport
from llm_assets.store.shards import ShardSet
from llm_assets_tests.chain.world import SEQUENCE_LENGTH, World

SMALL = {"steps": 40, "batch_size": 2, "sequence_length": 64, "held_out_rows": 9, "threads": 1}
SMALL |= {"width": 32, "heads": 2, "layers": 1}


def link(world: World, **asked: object) -> SmokeTrainLink:
    return SmokeTrainLink(world.mixed, SmokeTrainParameters.model_validate({**SMALL, **asked}))


def opened(world: World) -> ShardSet:
    shards = open_shards(world.store.version("demo", "v1"))
    assert shards is not None
    return shards


@pytest.fixture(scope="module")
def staged(made_world: World) -> StagedReport:
    return made_world.make(link(made_world), "v1")


def test_a_model_learns_from_the_mixture(made_world: World, staged: StagedReport) -> None:
    (outcome,) = made_world.outcomes(link(made_world), staged).values()
    assert outcome.passed and "the loss went from 5." in outcome.message
    losses, vocabulary = staged.results["losses"], opened(made_world).index.vocabulary_size
    assert len(losses) == 40 and losses[0] == pytest.approx(math.log(vocabulary), rel=0.1)
    assert set(staged.results["held_out"]) == {"docs", "code"}
    for found in staged.results["held_out"].values():
        assert 1 < found["bits_per_byte"] < 8 and found["bits_per_token"] > found["bits_per_byte"]


def test_what_a_person_sees(made_world: World, staged: StagedReport) -> None:
    description = link(made_world).describe(staged)
    (curve,) = description.curves.values()
    assert curve.tolist() == staged.results["losses"] and description.rows == 40
    assert description.values["held_out_bits_per_byte_docs"] == staged.results["held_out"]["docs"]["bits_per_byte"]
    assert description.values["tokens_per_second"] > 0 and "tokens/s" in str(description.values["loader"])


def test_the_same_rows_and_parameters_give_the_same_report(made_world: World, staged: StagedReport) -> None:
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    torch.manual_seed(99)
    assert made_world.make(link(made_world), "v1").manifest.digest == staged.manifest.digest
    torch.manual_seed(99)
    drawn = torch.rand(3)
    made_world.make(link(made_world, steps=2, threads=1), "v1")
    torch.manual_seed(99)
    assert torch.equal(torch.rand(3), drawn) and torch.get_num_threads() == threads
    torch.random.set_rng_state(state)
    assert made_world.make(link(made_world, seed=1), "v1").manifest.digest != staged.manifest.digest


def test_no_row_is_both_trained_on_and_held_out(made_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the model is really given, found again among the rows of the set."""
    seen: dict[bool, list[np.ndarray]] = {True: [], False: []}
    forward = tiny_model.TinyModel.forward

    def spying(self: tiny_model.TinyModel, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        seen[torch.is_grad_enabled()].append(batch["input_ids"].numpy().copy())
        return forward(self, batch)

    monkeypatch.setattr(tiny_model.TinyModel, "forward", spying)
    shards = opened(made_world)
    rows = shards.input_ids(0, shards.rows).astype(np.int64).reshape(-1, 64)
    used = rows_used(shards, link(made_world).parameters)
    staged = made_world.make(link(made_world), "v1")
    trained, tried = np.concatenate(seen[True]), np.concatenate(seen[False])
    assert np.array_equal(trained, np.resize(rows[: used.held_out], trained.shape))
    assert np.array_equal(tried, rows[used.held_out :][: len(tried)])
    left = len(rows) - used.held_out - len(tried)
    assert 0 <= left < used.batch and used.held_out % 2 == 0 and len(tried) >= 2 * 9 - used.batch
    ledger, reached = staged.manifest.ledger, min(SMALL["steps"], used.held_out // 2)  # a batch is a row of the set
    assert ledger.incoming == ledger.accounted
    assert ledger.dropped["held_out"].documents == shards.rows - used.held_out // 2
    assert ledger.kept.documents == reached
    assert ledger.kept.tokens == shards.document_lengths(0, reached).lengths.sum()


def test_rows_are_trained_on_again_where_there_are_too_few(made_world: World) -> None:
    shards = opened(made_world)
    used = rows_used(shards, link(made_world, held_out_rows=10**9).parameters)
    steps = used.held_out // used.batch + 3
    staged = made_world.make(link(made_world, held_out_rows=10**9, steps=steps, width=4, heads=1), "v1")
    assert len(staged.results["losses"]) == steps and staged.measured["loader_batches"] == steps
    assert staged.manifest.ledger.kept.documents == used.held_out // 2
    assert shards.rows - used.held_out // 2 in range(shards.rows // 5, shards.rows // 5 + 2)


def test_bits_per_byte_are_those_of_the_text(made_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that finds every token as likely needs log2 of the vocabulary for each; the text tells the bytes."""

    def ignorant(self: tiny_model.TinyModel, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        count = int(tiny_model.has_target(batch).sum())
        return torch.full((count,), math.log(self.tokens.num_embeddings)) + 0 * self.tokens.weight.sum()

    monkeypatch.setattr(tiny_model.TinyModel, "forward", ignorant)
    asked = {"sequence_length": SEQUENCE_LENGTH, "batch_size": 1, "steps": 2}
    staged, shards = made_world.make(link(made_world, **asked), "v1"), opened(made_world)
    _, tokenizer = made_world.tokenizer.open(made_world.store)
    origins = list(zip(*(column.to_pylist() for column in read_provenance(shards).columns[1:]), strict=True))
    expected: dict[str, list[int]] = {}
    for row in range(shards.rows - 9, shards.rows):
        if origins[row] in origins[:2]:
            continue
        ids = shards.input_ids(row, row + 1)[0].tolist()
        _, lengths = shards.document_lengths(row, row + 1)
        for length in lengths.tolist():
            document, ids = ids[:length], ids[length:]
            entry = expected.setdefault(origins[row][0], [0, 0])
            entry[0] += length - 1
            # every character a byte, so that a token cut out of a character counts too
            entry[1] += sum(len(t) for t in map(tokenizer.reference.id_to_token, document[1:]) if t != "<|endoftext|>")
    bits = math.log2(shards.index.vocabulary_size)
    for source, (targets, size) in expected.items():
        found = staged.results["held_out"][source]
        assert found["tokens"] == targets and found["bits_per_token"] == pytest.approx(bits)
        assert found["bits_per_byte"] == pytest.approx(bits * targets / size)
    assert not made_world.outcomes(link(made_world, **asked), staged)["loss_falls"].passed


def test_where_bytes_are_not_known_there_are_bits_per_token(made_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise UnknownBytesError

    monkeypatch.setattr(smoke_train_module, "token_bytes", unknown)
    staged = made_world.make(link(made_world, steps=2), "v1")
    for found in staged.results["held_out"].values():
        assert found["bits_per_byte"] is None and found["bits_per_token"] > 1
    assert not any("per_byte" in name for name in link(made_world).describe(staged).values)


def test_rows_that_repeat_a_trained_one_are_not_tried(world: World) -> None:
    """Every row of a source is in the mixture twice, so its last ones are some that were trained on."""
    version, twice = made_twice(world)
    smoke = SmokeTrainLink(twice, link(world, steps=10**4, batch_size=1, width=4, heads=1).parameters)
    shards = open_shards(world.store.version(twice.name, version))
    assert shards is not None
    used = rows_used(shards, smoke.parameters)
    few = SmokeTrainLink(twice, smoke.parameters.model_copy(update={"steps": used.held_out // 2}))
    for each in (few, SmokeTrainLink(twice, smoke.parameters.model_copy(update={"steps": used.held_out}))):
        staged = world.make(each, version)
        origins = list(zip(*(c.to_pylist() for c in read_provenance(shards).columns[1:]), strict=True))
        trained = set(origins[: each.parameters.steps // 2])
        tried = origins[used.held_out // 2 :]
        expected = Counter(origin[0] for origin in tried if origin not in trained)
        assert {name: found["rows"] for name, found in staged.results["held_out"].items()} == expected
        assert staged.results["held_out_repeated_rows"] == len(tried) - expected.total() > 0


def made_twice(world: World) -> tuple[str, MixedLink]:
    """A version of a mixture that takes the rows of its sources twice."""
    parameters = world.mixed.parameters.model_copy(update={"max_repetitions": 2, "total_rows": None})
    mixed = replace(world.mixed, name="twice", parameters=parameters)
    version = mixed.versions(world.store).register(mixed.recipe(world.store))
    world.commit(mixed, version)
    return version, mixed


def test_without_held_out_rows_nothing_is_said_of_them(made_world: World) -> None:
    asked = link(made_world, held_out_rows=0, batch_size=1, steps=2)
    staged = made_world.make(asked, "v1")
    assert staged.results["held_out"] == {} and asked.describe(staged).rows == 2


def test_a_loss_that_is_no_number_fails(made_world: World) -> None:
    staged = made_world.make(link(made_world, learning_rate=1e30), "v1")
    (outcome,) = made_world.outcomes(link(made_world), staged).values()
    assert not outcome.passed and "losses are no number, first that of step" in outcome.message
    assert np.isnan(next(iter(link(made_world).describe(staged).curves.values()))).any()


@given(losses=st.lists(st.floats(0, 20), min_size=2, max_size=99), min_fall=st.sampled_from([0.0, 0.5, 3.0]))
def test_the_first_tenth_is_compared_with_the_last(losses: list[float], min_fall: float) -> None:
    tenth = len(losses) // 10 or 1
    fell = sum(losses[:tenth]) / tenth - sum(losses[-tenth:]) / tenth
    assume(abs(fell - min_fall) > 1e-9)  # where rounding decides
    assert loss_falls(losses, min_fall).passed == (fell > min_fall)


def test_a_loss_that_stays_does_not_fall() -> None:
    assert not loss_falls([3.0, 3.0], 0.0).passed
    assert loss_falls([3.5, 3.0], 0.5).passed
    assert not loss_falls([3.0] * 50 + [None] * 2, 0.0).passed


def test_only_block_blocks_and_changes_no_report(made_world: World) -> None:
    warns, blocks = link(made_world), link(made_world, on_failure="block", min_fall=1)
    assert [check.blocking for check in (*warns.checks, *blocks.checks)] == [False, True]
    assert warns.code_version == blocks.code_version != link(made_world, steps=41).code_version


def test_states_follow_the_version_and_the_parameters(world: World) -> None:
    smoke = link(world, steps=2)
    assert smoke.state(world.store, "v1") is State.MISSING
    with pytest.raises(MissingInputError, match=r"demo/mixed\[v7\] is not there: materialize it first"):
        world.make(smoke, "v7")
    world.commit(smoke, "v1")
    assert smoke.state(world.store, "v1") is State.CURRENT
    assert link(world, steps=3).state(world.store, "v1") is State.STALE
    stored = StoredReport.open(world.store.report("demo/smoke_train", "v1"))
    assert stored is not None and len(stored.results["losses"]) == 2
    (version,) = world.mixed.versions(world.store).names()
    assert version == "v1" and world.mixed.state(world.store, "v1") is State.CURRENT


@dataclass(frozen=True)
class Rows:
    """As much of a shard set as the choice of rows looks at."""

    rows: int
    sequence_length: int


@given(
    rows=st.integers(1, 500),
    divided=st.sampled_from([(512, None), (512, 64), (128, 128), (96, 32), (131, 131), (30, 2)]),
    batch=st.integers(1, 40),
    held_out=st.integers(0, 100),
)
def test_rows_are_divided_where_the_rows_of_the_mixture_end(
    rows: int, divided: tuple[int, int | None], batch: int, held_out: int
) -> None:
    packed, length = divided
    asked = SmokeTrainParameters(batch_size=batch, sequence_length=length, held_out_rows=held_out)
    division = packed // (length or 128)
    if (rows - min(held_out, rows // 5)) * division < math.lcm(batch, division):
        with pytest.raises(SmokeTrainError, match="too few"):
            rows_used(Rows(rows, packed), asked)
        return
    used = rows_used(Rows(rows, packed), asked)
    assert used.length == (length or 128) and used.held_out > 0
    assert used.held_out % batch == 0 and used.held_out % division == 0
    kept_out = rows - used.held_out // division
    assert min(held_out, rows // 5) <= kept_out < min(held_out, rows // 5) + math.lcm(batch, division) / division


def test_rows_that_cannot_be_divided_so_are_refused() -> None:
    with pytest.raises(SmokeTrainError, match="set sequence_length to a number over 1 that divides that"):
        rows_used(Rows(100, 131), SmokeTrainParameters())
    with pytest.raises(SmokeTrainError, match="100 tokens in a row of the model"):
        rows_used(Rows(100, 512), SmokeTrainParameters(sequence_length=100))


def test_another_tokenizer_is_refused(world: World) -> None:
    shutil.rmtree(Path(world.store.tokenizer("bpe").path))
    with pytest.raises(MissingInputError, match="tokenizers/bpe is not there"):
        world.make(link(world), "v1")
    trained = world.tokenizer.parameters.train
    assert trained is not None
    parameters = world.tokenizer.parameters.model_copy(
        update={"train": trained.model_copy(update={"vocabulary_size": 390})}
    )
    world.commit(replace(world.tokenizer, parameters=parameters), "")
    with pytest.raises(SmokeTrainError, match=r"demo/mixed has ids of another tokenizer than tokenizers/bpe is now"):
        world.make(link(world), "v1")
